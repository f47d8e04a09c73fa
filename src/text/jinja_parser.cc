#include "text/jinja_parser.h"

#include <algorithm>
#include <string>

namespace tw::text::jinja {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

const Token& Parser::peek(std::size_t ahead) const {
  return tokens_[std::min(pos_ + ahead, tokens_.size() - 1)];
}

Token Parser::next() {
  Token token = peek();
  if (pos_ + 1 < tokens_.size()) ++pos_;
  return token;
}

bool Parser::at(std::string_view op) const {
  return peek().kind == TokenKind::kOperator && peek().text == op;
}

bool Parser::at_name(std::string_view name) const {
  return peek().kind == TokenKind::kName && peek().text == name;
}

bool Parser::take(std::string_view op) {
  if (!at(op)) return false;
  ++pos_;
  return true;
}

bool Parser::take_name(std::string_view name) {
  if (!at_name(name)) return false;
  ++pos_;
  return true;
}

Status Parser::expect(std::string_view op) {
  if (take(op)) return base::Ok{};
  return unexpected("'" + std::string(op) + "'");
}

Result<std::string> Parser::expect_name() {
  if (peek().kind != TokenKind::kName) return unexpected("a name");
  return next().text;
}

Error Parser::fail(std::string_view what) const {
  return {Code::kCorrupt, std::string(what), "line " + std::to_string(peek().line)};
}

Error Parser::unexpected(std::string_view wanted) const {
  const Token& token = peek();
  std::string found = "'" + token.text + "'";
  if (token.kind == TokenKind::kBlockEnd || token.kind == TokenKind::kVariableEnd)
    found = "the end of the tag";
  if (token.kind == TokenKind::kEnd) found = "the end of the template";
  return fail("expected " + std::string(wanted) + ", found " + found);
}

int Parser::slot_of(const std::string& name) {
  const auto [at, added] = program_.slots.emplace(name, static_cast<int>(program_.names.size()));
  if (added) {
    program_.names.push_back(name);
    program_.read.push_back(false);
  }
  return at->second;
}

Status Parser::enter() {
  // Counted even when refused, so that the guard's leave() always has its match.
  if (++depth_ <= max_depth_) return base::Ok{};
  Error error = fail("nested deeper than " + std::to_string(max_depth_) + " levels: flatten the template");
  error.code = Code::kResourceExhausted;
  return error;
}

Result<Program> Parser::run() {
  TW_ASSIGN_OR_RETURN(program_.body, body({}));
  return std::move(program_);
}

Result<Program> parse_program(std::string_view source, int max_depth) {
  TW_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  TW_ASSIGN_OR_RETURN(Program program, Parser(std::move(tokens), max_depth).run());
  TW_RETURN_IF_ERROR(check_names(program));
  return program;
}

}  // namespace tw::text::jinja
