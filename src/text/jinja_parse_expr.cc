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

}  // namespace tw::text::jinja
