// What follows a value in an expression: attributes, subscripts, calls, filters and tests.
#include <utility>

#include "text/jinja_number.h"
#include "text/jinja_parser.h"

namespace tw::text::jinja {

using base::Result;
using base::Status;

namespace {

bool can_start_argument(const Token& token) {
  switch (token.kind) {
    case TokenKind::kName:
      return token.text != "else" && token.text != "or" && token.text != "and";
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    case TokenKind::kOperator:
      return token.text == "[" || token.text == "{";
    default:
      return false;
  }
}

}  // namespace

Result<ExprPtr> Parser::postfix(ExprPtr node) {
  while (true) {
    if (at(".")) {
      TW_ASSIGN_OR_RETURN(node, attribute(std::move(node)));
    } else if (at("[")) {
      TW_ASSIGN_OR_RETURN(node, subscript(std::move(node)));
    } else if (at("(")) {
      TW_ASSIGN_OR_RETURN(node, call(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<ExprPtr> Parser::filters_and_tests(ExprPtr node) {
  while (true) {
    if (take("|")) {
      TW_ASSIGN_OR_RETURN(node, filter(std::move(node)));
    } else if (take_name("is")) {
      TW_ASSIGN_OR_RETURN(node, test(std::move(node)));
    } else if (at("(")) {
      TW_ASSIGN_OR_RETURN(node, call(std::move(node)));
    } else {
      return node;
    }
  }
}

Result<ExprPtr> Parser::attribute(ExprPtr node) {
  ExprPtr parent = make(ExprKind::kAttribute);
  next();
  const Token token = next();
  parent->children.push_back(std::move(node));
  if (token.kind == TokenKind::kInteger) {
    parent->kind = ExprKind::kItem;
    ExprPtr index = make(ExprKind::kConst);
    const std::optional<Int> value = read_int(token.text, 0);
    if (!value) return fail("not an index: " + token.text);
    index->constant = Value::integer(*value);
    parent->children.push_back(std::move(index));
  } else if (token.kind == TokenKind::kName) {
    parent->name = token.text;
  } else {
    return fail("expected a name or a number after '.'");
  }
  return checked(std::move(parent));
}

Result<ExprPtr> Parser::subscript(ExprPtr node) {
  next();
  ExprPtr parent;
  TW_ASSIGN_OR_RETURN(parent, slice_or_index(std::move(node)));
  if (at(",")) {
    if (parent->kind == ExprKind::kSlice) return fail("a slice cannot be part of a tuple here");
    ExprPtr key = make(ExprKind::kTuple);
    key->children.push_back(std::move(parent->children[1]));
    while (take(",")) {
      if (at("]")) break;
      TW_ASSIGN_OR_RETURN(ExprPtr item, expression());
      key->children.push_back(std::move(item));
    }
    TW_ASSIGN_OR_RETURN(parent->children[1], checked(std::move(key)));
    TW_ASSIGN_OR_RETURN(parent, checked(std::move(parent)));
  }
  TW_RETURN_IF_ERROR(expect("]"));
  return parent;
}

Result<ExprPtr> Parser::slice_or_index(ExprPtr node) {
  ExprPtr parent = make(ExprKind::kItem);
  parent->children.push_back(std::move(node));
  ExprPtr first;
  if (!at(":")) {
    TW_ASSIGN_OR_RETURN(first, expression());
  }
  parent->children.push_back(std::move(first));
  if (!at(":")) return checked(std::move(parent));
  parent->kind = ExprKind::kSlice;
  while (parent->children.size() < 4) {
    ExprPtr part;
    if (take(":") && !at(":") && !at("]") && !at(",")) {
      TW_ASSIGN_OR_RETURN(part, expression());
    }
    parent->children.push_back(std::move(part));
  }
  return checked(std::move(parent));
}

Result<ExprPtr> Parser::call(ExprPtr node) {
  ExprPtr parent = make(ExprKind::kCall);
  TW_ASSIGN_OR_RETURN(parent->arguments, call_arguments());
  parent->children.push_back(std::move(node));
  return checked(std::move(parent));
}

Result<std::unique_ptr<Arguments>> Parser::call_arguments() {
  auto out = std::make_unique<Arguments>();
  TW_RETURN_IF_ERROR(expect("("));
  bool first = true;
  while (!at(")")) {
    if (!first) {
      TW_RETURN_IF_ERROR(expect(","));
      if (at(")")) break;
    }
    first = false;
    TW_RETURN_IF_ERROR(call_argument(*out));
  }
  TW_RETURN_IF_ERROR(expect(")"));
  return out;
}

Status Parser::call_argument(Arguments& out) {
  const bool named =
      peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator && peek(1).text == "=";
  if (take("**")) {
    if (out.double_star != nullptr) return fail("two ** arguments in one call");
    TW_ASSIGN_OR_RETURN(out.double_star, expression());
  } else if (take("*")) {
    if (out.star != nullptr || out.double_star != nullptr)
      return fail("a * argument comes too late in a call");
    TW_ASSIGN_OR_RETURN(out.star, expression());
  } else if (named && out.double_star == nullptr) {
    std::string name = next().text;
    next();
    TW_ASSIGN_OR_RETURN(ExprPtr value, expression());
    out.named.emplace_back(std::move(name), std::move(value));
  } else {
    if (out.star != nullptr || out.double_star != nullptr || !out.named.empty()) {
      return fail("a positional argument comes after a named one");
    }
    TW_ASSIGN_OR_RETURN(ExprPtr value, expression());
    out.positional.push_back(std::move(value));
  }
  return base::Ok{};
}

Result<ExprPtr> Parser::filter(ExprPtr node) {
  ExprPtr parent = make(ExprKind::kFilter);
  TW_ASSIGN_OR_RETURN(parent->name, expect_name());
  while (take(".")) {
    TW_ASSIGN_OR_RETURN(std::string part, expect_name());
    parent->name += "." + part;
  }
  parent->filter = find_filter(parent->name);
  if (at("(")) {
    TW_ASSIGN_OR_RETURN(parent->arguments, call_arguments());
  }
  parent->children.push_back(std::move(node));
  return checked(std::move(parent));
}

Result<ExprPtr> Parser::test(ExprPtr node) {
  const bool negated = take_name("not");
  ExprPtr parent = make(ExprKind::kTest);
  TW_ASSIGN_OR_RETURN(parent->name, expect_name());
  while (take(".")) {
    TW_ASSIGN_OR_RETURN(std::string part, expect_name());
    parent->name += "." + part;
  }
  parent->test = find_test(parent->name);
  TW_RETURN_IF_ERROR(test_arguments(*parent));
  parent->children.push_back(std::move(node));
  TW_ASSIGN_OR_RETURN(parent, checked(std::move(parent)));
  if (!negated) return parent;
  ExprPtr inverse = make(ExprKind::kNot);
  inverse->children.push_back(std::move(parent));
  return checked(std::move(inverse));
}

Status Parser::test_arguments(Expr& node) {
  if (at("(")) {
    TW_ASSIGN_OR_RETURN(node.arguments, call_arguments());
    return base::Ok{};
  }
  if (!can_start_argument(peek())) return base::Ok{};
  if (at_name("is")) return fail("tests cannot be chained with 'is'");
  node.arguments = std::make_unique<Arguments>();
  TW_ASSIGN_OR_RETURN(ExprPtr argument, primary());
  TW_ASSIGN_OR_RETURN(argument, postfix(std::move(argument)));
  node.arguments->positional.push_back(std::move(argument));
  return base::Ok{};
}

}  // namespace tw::text::jinja
