// The parser of templates: tokens to a syntax tree, in jinja2's grammar.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/jinja_ast.h"
#include "text/jinja_token.h"

namespace tw::text::jinja {

/// Parses a template. Brackets, blocks and operators nest at most `max_depth` (blocks, brackets) levels.
/// Fails with kCorrupt (syntax), kUnsupported (a tag of jinja2 that would read other templates) or
/// kResourceExhausted (too deep); Error::where is "line N".
base::Result<Program> parse_program(std::string_view source, int max_depth);

/// Whether every filter and test of a template exists. As in jinja2, one under an `if` may be unknown: it is
/// an error only when it is reached.
base::Status check_names(const Program& program);

/// The state that the expression and the statement parser share.
class Parser {
 public:
  Parser(std::vector<Token> tokens, int max_depth) : tokens_(std::move(tokens)), max_depth_(max_depth) {}
  base::Result<Program> run();

 private:
  friend class DepthGuard;

  // jinja_parser.cc: the stream of tokens.
  const Token& peek(std::size_t ahead = 0) const;
  Token next();
  bool at(std::string_view op) const;
  bool at_name(std::string_view name) const;
  bool take(std::string_view op);
  bool take_name(std::string_view name);
  base::Status expect(std::string_view op);
  base::Result<std::string> expect_name();
  base::Error fail(std::string_view what) const;
  base::Error unexpected(std::string_view wanted) const;
  int slot_of(const std::string& name);
  base::Status enter();
  void leave() { --depth_; }

  // jinja_parse_expr.cc
  base::Result<ExprPtr> expression(bool with_conditional = true);
  base::Result<ExprPtr> conditional();
  base::Result<ExprPtr> either();
  base::Result<ExprPtr> both();
  base::Result<ExprPtr> negation();
  base::Result<ExprPtr> comparison();
  base::Result<ExprPtr> arithmetic(int level);
  base::Result<ExprPtr> unary(bool with_filters);
  base::Result<ExprPtr> primary();
  base::Result<ExprPtr> name_or_constant();
  base::Result<ExprPtr> number();
  base::Result<ExprPtr> list_literal();
  base::Result<ExprPtr> dict_literal();
  base::Result<ExprPtr> postfix(ExprPtr node);
  base::Result<ExprPtr> filters_and_tests(ExprPtr node);
  base::Result<ExprPtr> attribute(ExprPtr node);
  base::Result<ExprPtr> subscript(ExprPtr node);
  base::Result<ExprPtr> slice_or_index(ExprPtr node);
  base::Result<ExprPtr> call(ExprPtr node);
  base::Result<ExprPtr> filter(ExprPtr node);
  base::Result<ExprPtr> test(ExprPtr node);
  base::Status test_arguments(Expr& node);
  base::Result<std::unique_ptr<Arguments>> call_arguments();
  base::Status call_argument(Arguments& out);
  base::Result<ExprPtr> tuple(bool with_conditional, bool in_parentheses, std::string_view end_name = {});
  bool tuple_ends(std::string_view end_name) const;
  ExprPtr make(ExprKind kind) const;
  base::Result<ExprPtr> checked(ExprPtr node) const;

  // jinja_parse_stmt.cc
  base::Result<Body> body(std::initializer_list<std::string_view> ends);
  base::Status statement(Body& out);
  base::Result<std::unique_ptr<Stmt>> block_statement(const std::string& tag);
  base::Result<std::unique_ptr<Stmt>> for_statement();
  base::Result<std::unique_ptr<Stmt>> if_statement();
  base::Result<std::unique_ptr<Stmt>> set_statement();
  base::Result<std::unique_ptr<Stmt>> macro_statement();
  base::Result<std::unique_ptr<Stmt>> call_statement();
  base::Result<std::unique_ptr<Stmt>> filter_statement();
  base::Result<std::unique_ptr<Stmt>> with_statement();
  base::Result<std::unique_ptr<Stmt>> loop_control(StmtKind kind);
  base::Result<std::unique_ptr<Stmt>> generation_statement();
  base::Status signature(MacroDef& macro);
  base::Status macro_body(MacroDef& macro, std::string_view end);
  base::Result<Target> target_name(bool with_namespace);
  base::Result<Target> target_tuple(bool with_namespace, std::string_view end_name);
  base::Status end_tag(std::string_view what);
  std::unique_ptr<Stmt> make_stmt(StmtKind kind) const;

  std::vector<Token> tokens_;
  std::size_t pos_ = 0;
  int max_depth_;
  int depth_ = 0;
  int caller_reads_ = 0;  // how often the names that macros get by themselves were read so far
  int varargs_reads_ = 0;
  int kwargs_reads_ = 0;
  int all_loops_ = 0;  // enclosing for loops
  int loops_ = 0;      // enclosing for loops within the current macro
  Program program_;
};

/// Counts one level of nesting for as long as it lives.
class DepthGuard {
 public:
  explicit DepthGuard(Parser& parser) : parser_(parser) {}
  ~DepthGuard() { parser_.leave(); }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  Parser& parser_;
};

}  // namespace tw::text::jinja
