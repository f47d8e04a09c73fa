// choose_inlined: which rules are written in place of their calls.
#include <algorithm>
#include <utility>

#include "text/grammar_compile.h"

namespace tw::text {
namespace {

constexpr std::int64_t kSmall = 200;      // rules up to this size are copied to every use ...
constexpr std::int64_t kCopied = 20'000;  // ... while all copies of one rule stay below this
constexpr std::int32_t kNested = 500;     // and while the expression that results nests no deeper than this

struct Use {
  RuleId rule;
  std::int64_t copies;
};

struct RuleShape {
  std::int64_t own = 0;  ///< weight of the body without its calls
  std::vector<Use> uses;
};

std::int64_t saturating_multiply(std::int64_t a, std::int64_t b) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  return b != 0 && a > kMost / b ? kMost : a * b;
}

std::int64_t weight(const Expr& expr) {
  switch (expr.kind) {
    case Expr::Kind::kBytes:
      return static_cast<std::int64_t>(expr.bytes.size());
    case Expr::Kind::kChars:
      return 2 * static_cast<std::int64_t>(expr.chars.ranges().size());
    case Expr::Kind::kAutomaton:
      return 4 * static_cast<std::int64_t>(expr.automaton->edge_count());
    default:
      return 1;
  }
}

RuleShape shape_of(const std::vector<Expr>& exprs, ExprId body) {
  RuleShape shape;
  std::unordered_map<ExprId, bool> seen;
  std::vector<std::pair<ExprId, std::int64_t>> todo{{body, 1}};
  while (!todo.empty()) {
    const auto [id, copies] = todo.back();
    todo.pop_back();
    if (std::exchange(seen[id], true)) continue;
    const Expr& expr = exprs[static_cast<std::size_t>(id)];
    shape.own += saturating_multiply(weight(expr), copies);
    if (expr.kind == Expr::Kind::kRef) shape.uses.push_back({expr.rule, copies});
    const std::int64_t times = expr.kind != Expr::Kind::kRepeat ? 1
                               : expr.max == -1                 ? std::max<std::int64_t>(expr.min, 1)
                                                                : expr.max;
    for (const ExprId part : expr.parts) todo.emplace_back(part, saturating_multiply(copies, times));
  }
  return shape;
}

/// Tarjan's strongly connected components without recursion: the rules in an order with callees first, and
/// which of them can reach themselves.
class RuleOrder {
 public:
  RuleOrder(const std::vector<RuleShape>& shapes, RuleId root)
      : shapes_(shapes),
        index_(shapes.size(), -1),
        low_(shapes.size(), 0),
        recursive(shapes.size(), false),
        on_stack_(shapes.size(), false) {
    enter(root);
    while (!frames_.empty()) step();
  }

 private:
  struct Frame {
    RuleId rule;
    std::size_t use;
  };
  static std::size_t at(RuleId rule) { return static_cast<std::size_t>(rule); }

  void enter(RuleId rule) {
    index_[at(rule)] = low_[at(rule)] = count_++;
    stack_.push_back(rule);
    on_stack_[at(rule)] = true;
    frames_.push_back({rule, 0});
  }

  void step() {
    Frame& frame = frames_.back();
    const RuleId rule = frame.rule;
    const auto& uses = shapes_[at(rule)].uses;
    if (frame.use < uses.size()) {
      const RuleId callee = uses[frame.use++].rule;
      if (callee == rule) recursive[at(rule)] = true;
      if (index_[at(callee)] < 0)
        enter(callee);
      else if (on_stack_[at(callee)])
        low_[at(rule)] = std::min(low_[at(rule)], index_[at(callee)]);
      return;
    }
    frames_.pop_back();
    if (!frames_.empty()) {
      const std::size_t parent = at(frames_.back().rule);
      low_[parent] = std::min(low_[parent], low_[at(rule)]);
    }
    if (low_[at(rule)] == index_[at(rule)]) leave_component(rule);
  }

  void leave_component(RuleId head) {
    const bool alone = stack_.back() == head;
    RuleId member;
    do {
      member = stack_.back();
      stack_.pop_back();
      on_stack_[at(member)] = false;
      if (!alone) recursive[at(member)] = true;
      callees_first.push_back(member);
    } while (member != head);
  }

  const std::vector<RuleShape>& shapes_;
  std::vector<std::int32_t> index_, low_;
  std::int32_t count_ = 0;
  std::vector<RuleId> stack_;
  std::vector<Frame> frames_;

 public:
  std::vector<RuleId> callees_first;
  std::vector<bool> recursive;

 private:
  std::vector<bool> on_stack_;
};

}  // namespace

std::vector<bool> choose_inlined(const RuleSource& source, RuleId root) {
  std::vector<RuleShape> shapes;
  shapes.reserve(source.bodies.size());
  for (const ExprId body : source.bodies) shapes.push_back(shape_of(source.exprs, body));
  const RuleOrder order(shapes, root);
  std::vector<std::int64_t> uses(shapes.size(), 0), size(shapes.size(), 0);
  for (const RuleId rule : order.callees_first) {
    for (const Use& use : shapes[static_cast<std::size_t>(rule)].uses) {
      uses[static_cast<std::size_t>(use.rule)] += use.copies;
    }
  }
  std::vector<bool> inlined(shapes.size(), false);
  std::vector<std::int32_t> depth(shapes.size(), 0);
  for (const RuleId rule : order.callees_first) {
    const auto r = static_cast<std::size_t>(rule);
    size[r] = shapes[r].own;
    for (const Use& use : shapes[r].uses) {
      const auto callee = static_cast<std::size_t>(use.rule);
      if (!inlined[callee]) continue;
      size[r] += saturating_multiply(size[callee], use.copies);
      depth[r] = std::max(depth[r], depth[callee]);
    }
    depth[r] += source.exprs[static_cast<std::size_t>(source.bodies[r])].depth;
    if (order.recursive[r] || source.keep[r] || rule == root || depth[r] > kNested) continue;
    const std::int64_t copied = saturating_multiply(size[r], uses[r]);
    inlined[r] = copied <= kCopied && (size[r] <= kSmall || uses[r] == 1);
  }
  return inlined;
}

}  // namespace tw::text
