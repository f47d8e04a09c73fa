// Expressions, from the loosest binding operator (inline if) to the tightest (attribute, call).
#include <algorithm>
#include <array>
#include <utility>

#include "text/jinja_number.h"
#include "text/jinja_parser.h"

namespace tw::text::jinja {
namespace {

using base::Code;
using base::Result;
using base::Status;

// A chain like a + b + c is a tree as deep as it is long, which every walk recurses into.
constexpr int kMaxExprDepth = 200;

constexpr std::array<std::pair<std::string_view, Op>, 6> kComparisons = {
    {{"==", Op::kEq}, {"!=", Op::kNe}, {"<", Op::kLt}, {"<=", Op::kLe}, {">", Op::kGt}, {">=", Op::kGe}}};

struct LevelOp {
  int level;
  std::string_view symbol;
  Op op;
};
/// Left-associative operators by level; level 1, '~', is apart.
constexpr std::array<LevelOp, 7> kArithmetic = {{{0, "+", Op::kAdd},
                                                 {0, "-", Op::kSub},
                                                 {2, "*", Op::kMul},
                                                 {2, "/", Op::kDiv},
                                                 {2, "//", Op::kFloorDiv},
                                                 {2, "%", Op::kMod},
                                                 {3, "**", Op::kPow}}};
constexpr int kConcatLevel = 1;
constexpr int kUnaryLevel = 4;

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

void raise_depth(int& depth, const ExprPtr& child) {
  if (child != nullptr) depth = std::max(depth, child->depth + 1);
}

}  // namespace

ExprPtr Parser::make(ExprKind kind) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = peek().line;
  return node;
}

Result<ExprPtr> Parser::checked(ExprPtr node) const {
  for (const ExprPtr& child : node->children) raise_depth(node->depth, child);
  if (node->arguments != nullptr) {
    for (const ExprPtr& child : node->arguments->positional) raise_depth(node->depth, child);
    for (const auto& [name, child] : node->arguments->named) raise_depth(node->depth, child);
    raise_depth(node->depth, node->arguments->star);
    raise_depth(node->depth, node->arguments->double_star);
  }
  if (node->depth <= kMaxExprDepth) return node;
  base::Error error = fail("an expression is nested deeper than 200 levels: split it");
  error.code = Code::kResourceExhausted;
  return error;
}

Result<ExprPtr> Parser::expression(bool with_conditional) {
  const DepthGuard guard(*this);
  TW_RETURN_IF_ERROR(enter());
  return with_conditional ? conditional() : either();
}

Result<ExprPtr> Parser::conditional() {
  TW_ASSIGN_OR_RETURN(ExprPtr node, either());
  while (take_name("if")) {
    ExprPtr choice = make(ExprKind::kConditional);
    TW_ASSIGN_OR_RETURN(ExprPtr test, either());
    ExprPtr otherwise;
    if (take_name("else")) {
      TW_ASSIGN_OR_RETURN(otherwise, expression());
    }
    choice->children.push_back(std::move(test));
    choice->children.push_back(std::move(node));
    choice->children.push_back(std::move(otherwise));
    TW_ASSIGN_OR_RETURN(node, checked(std::move(choice)));
  }
  return node;
}

Result<ExprPtr> Parser::either() {
  TW_ASSIGN_OR_RETURN(ExprPtr node, both());
  while (at_name("or")) {
    ExprPtr parent = make(ExprKind::kOr);
    next();
    TW_ASSIGN_OR_RETURN(ExprPtr right, both());
    parent->children.push_back(std::move(node));
    parent->children.push_back(std::move(right));
    TW_ASSIGN_OR_RETURN(node, checked(std::move(parent)));
  }
  return node;
}

Result<ExprPtr> Parser::both() {
  TW_ASSIGN_OR_RETURN(ExprPtr node, negation());
  while (at_name("and")) {
    ExprPtr parent = make(ExprKind::kAnd);
    next();
    TW_ASSIGN_OR_RETURN(ExprPtr right, negation());
    parent->children.push_back(std::move(node));
    parent->children.push_back(std::move(right));
    TW_ASSIGN_OR_RETURN(node, checked(std::move(parent)));
  }
  return node;
}

Result<ExprPtr> Parser::negation() {
  if (!at_name("not")) return comparison();
  const DepthGuard guard(*this);
  TW_RETURN_IF_ERROR(enter());
  ExprPtr node = make(ExprKind::kNot);
  next();
  TW_ASSIGN_OR_RETURN(ExprPtr child, negation());
  node->children.push_back(std::move(child));
  return checked(std::move(node));
}

Result<ExprPtr> Parser::comparison() {
  ExprPtr node = make(ExprKind::kCompare);
  TW_ASSIGN_OR_RETURN(ExprPtr first, arithmetic(0));
  node->children.push_back(std::move(first));
  while (true) {
    const auto* found =
        std::find_if(kComparisons.begin(), kComparisons.end(), [&](const auto& c) { return at(c.first); });
    if (found != kComparisons.end()) {
      node->ops.push_back(found->second);
    } else if (at_name("in")) {
      node->ops.push_back(Op::kIn);
    } else if (at_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in") {
      next();
      node->ops.push_back(Op::kNotIn);
    } else {
      break;
    }
    next();
    TW_ASSIGN_OR_RETURN(ExprPtr right, arithmetic(0));
    node->children.push_back(std::move(right));
  }
  if (node->ops.empty()) return std::move(node->children[0]);
  return checked(std::move(node));
}

Result<ExprPtr> Parser::arithmetic(int level) {
  if (level == kUnaryLevel) return unary(true);
  TW_ASSIGN_OR_RETURN(ExprPtr node, arithmetic(level + 1));
  if (level == kConcatLevel) {
    if (!at("~")) return node;
    ExprPtr concat = make(ExprKind::kConcat);
    concat->children.push_back(std::move(node));
    while (take("~")) {
      TW_ASSIGN_OR_RETURN(ExprPtr right, arithmetic(level + 1));
      concat->children.push_back(std::move(right));
    }
    return checked(std::move(concat));
  }
  while (true) {
    const auto* found = std::find_if(kArithmetic.begin(), kArithmetic.end(),
                                     [&](const LevelOp& o) { return o.level == level && at(o.symbol); });
    if (found == kArithmetic.end()) return node;
    ExprPtr parent = make(ExprKind::kBinary);
    next();
    parent->op = found->op;
    TW_ASSIGN_OR_RETURN(ExprPtr right, arithmetic(level + 1));
    parent->children.push_back(std::move(node));
    parent->children.push_back(std::move(right));
    TW_ASSIGN_OR_RETURN(node, checked(std::move(parent)));
  }
}

Result<ExprPtr> Parser::unary(bool with_filters) {
  ExprPtr node;
  if (at("-") || at("+")) {
    const DepthGuard guard(*this);
    TW_RETURN_IF_ERROR(enter());
    ExprPtr sign = make(at("-") ? ExprKind::kNegative : ExprKind::kPositive);
    next();
    TW_ASSIGN_OR_RETURN(ExprPtr child, unary(false));
    sign->children.push_back(std::move(child));
    TW_ASSIGN_OR_RETURN(node, checked(std::move(sign)));
  } else {
    TW_ASSIGN_OR_RETURN(node, primary());
  }
  TW_ASSIGN_OR_RETURN(node, postfix(std::move(node)));
  if (!with_filters) return node;
  return filters_and_tests(std::move(node));
}

Result<ExprPtr> Parser::primary() {
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::kName:
      return name_or_constant();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return number();
    case TokenKind::kString: {
      ExprPtr node = make(ExprKind::kConst);
      std::string text;
      while (peek().kind == TokenKind::kString) text += next().text;
      node->constant =
          Value::object(Kind::kString, std::make_shared<String>(nullptr, std::move(text), false));
      return node;
    }
    default:
      break;
  }
  if (at("[")) return list_literal();
  if (at("{")) return dict_literal();
  if (!take("(")) return unexpected("an expression");
  TW_ASSIGN_OR_RETURN(ExprPtr node, tuple(true, true));
  TW_RETURN_IF_ERROR(expect(")"));
  return node;
}

Result<ExprPtr> Parser::name_or_constant() {
  ExprPtr node = make(ExprKind::kConst);
  const std::string name = peek().text;
  next();
  if (name == "true" || name == "True") {
    node->constant = Value::boolean(true);
  } else if (name == "false" || name == "False") {
    node->constant = Value::boolean(false);
  } else if (name == "none" || name == "None") {
    node->constant = Value::none();
  } else {
    node->kind = ExprKind::kName;
    node->slot = slot_of(name);
    node->name = name;
    program_.read[static_cast<std::size_t>(node->slot)] = true;
    caller_reads_ += name == "caller";
    varargs_reads_ += name == "varargs";
    kwargs_reads_ += name == "kwargs";
  }
  return node;
}

Result<ExprPtr> Parser::number() {
  ExprPtr node = make(ExprKind::kConst);
  const Token token = next();
  if (token.kind == TokenKind::kFloat) {
    const std::optional<double> value = read_float(token.text);
    if (!value) return fail("not a number: " + token.text);
    node->constant = Value::real(*value);
  } else {
    const std::optional<Int> value = read_int(token.text, 0);
    if (!value) return fail("a number beyond 128 bits, or not a number: " + token.text);
    node->constant = Value::integer(*value);
  }
  return node;
}

Result<ExprPtr> Parser::list_literal() {
  ExprPtr node = make(ExprKind::kList);
  next();
  while (!at("]")) {
    if (!node->children.empty()) TW_RETURN_IF_ERROR(expect(","));
    if (at("]")) break;
    TW_ASSIGN_OR_RETURN(ExprPtr item, expression());
    node->children.push_back(std::move(item));
  }
  TW_RETURN_IF_ERROR(expect("]"));
  return checked(std::move(node));
}

Result<ExprPtr> Parser::dict_literal() {
  ExprPtr node = make(ExprKind::kDict);
  next();
  while (!at("}")) {
    if (!node->children.empty()) TW_RETURN_IF_ERROR(expect(","));
    if (at("}")) break;
    TW_ASSIGN_OR_RETURN(ExprPtr key, expression());
    TW_RETURN_IF_ERROR(expect(":"));
    TW_ASSIGN_OR_RETURN(ExprPtr value, expression());
    node->children.push_back(std::move(key));
    node->children.push_back(std::move(value));
  }
  TW_RETURN_IF_ERROR(expect("}"));
  return checked(std::move(node));
}

bool Parser::tuple_ends(std::string_view end_name) const {
  const TokenKind kind = peek().kind;
  if (kind == TokenKind::kVariableEnd || kind == TokenKind::kBlockEnd || at(")")) return true;
  return !end_name.empty() && at_name(end_name);
}

Result<ExprPtr> Parser::tuple(bool with_conditional, bool in_parentheses, std::string_view end_name) {
  ExprPtr node = make(ExprKind::kTuple);
  bool is_tuple = false;
  while (true) {
    if (!node->children.empty()) TW_RETURN_IF_ERROR(expect(","));
    if (tuple_ends(end_name)) break;
    TW_ASSIGN_OR_RETURN(ExprPtr item, expression(with_conditional));
    node->children.push_back(std::move(item));
    if (!at(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !node->children.empty()) return std::move(node->children[0]);
  if (!is_tuple && !in_parentheses) return unexpected("an expression");
  return checked(std::move(node));
}

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
