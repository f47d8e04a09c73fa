#include "text/grammar_stacks.h"

#include <algorithm>

namespace tw::text {
namespace {

constexpr std::uint32_t kLinear = 16;     // up to this many items a linear search is fastest
constexpr std::size_t kTableSize = 4096;  // a power of two, at least 2 x kMaxItems

std::size_t at(std::int32_t i) {
  return static_cast<std::size_t>(i);
}

}  // namespace

void ParallelStacks::clear() {
  items_.clear();
  nodes_.assign(1, {-1, 0});
  edges_.assign(1, {kExit, 0, -1});
}

ParallelStacks::Frame ParallelStacks::begin_at(std::int32_t state) {
  const auto begin = static_cast<std::uint32_t>(items_.size());
  items_.push_back({state, 0});
  return close(begin);
}

ParallelStacks::Frame ParallelStacks::returned(const std::vector<std::int32_t>& nodes) {
  const auto begin = static_cast<std::uint32_t>(items_.size());
  stamp_++;
  in_table_ = 0;
  for (const std::int32_t node : nodes) {
    for (std::int32_t e = nodes_[at(node)].first_edge; e >= 0; e = edges_[at(e)].next) {
      if (edges_[at(e)].back != kExit) add_item({edges_[at(e)].back, edges_[at(e)].parent}, begin);
    }
  }
  return close(begin);
}

ParallelStacks::Frame ParallelStacks::read(const Frame& from, std::uint8_t byte, bool only_test) {
  Frame frame;
  ++work_;
  overflow_ = false;
  const auto begin = static_cast<std::uint32_t>(items_.size());
  if (from.plain >= 0) {
    const std::int32_t to = grammar_->next(from.plain, byte);
    if (to == Grammar::kNone) return frame;
    if (only_test || grammar_->plain(to)) {
      frame = from;
      frame.plain = to;
      frame.complete = false;
      return frame;
    }
    items_.push_back({to, from.plain_node});
    return close(begin);
  }
  work_ += from.end - from.begin;
  stamp_++;
  in_table_ = 0;
  for (std::uint32_t i = from.begin; i < from.end; ++i) {
    const std::int32_t to = grammar_->next(items_[i].state, byte);
    if (to == Grammar::kNone) continue;
    if (only_test) {
      frame.plain = to;
      return frame;
    }
    add_item({to, items_[i].node}, begin);
  }
  if (items_.size() == begin) return frame;
  return close(begin);
}

void ParallelStacks::truncate(const Frame& frame) {
  items_.resize(frame.end);
  nodes_.resize(frame.nodes);
  edges_.resize(frame.edges);
}

void ParallelStacks::old_items(const Frame& frame, std::vector<Item>& out) const {
  out.clear();
  if (frame.plain >= 0) out.push_back({frame.plain, frame.plain_node});
  for (std::uint32_t i = frame.begin; frame.plain < 0 && i < frame.end; ++i) {
    if (items_[i].node < static_cast<std::int32_t>(frame.fresh)) out.push_back(items_[i]);
  }
}

bool ParallelStacks::leads_on(const Frame& frame) const {
  if (frame.plain >= 0) return true;
  return std::any_of(items_.begin() + frame.begin, items_.begin() + frame.end,
                     [&](const Item& item) { return grammar_->leads_on(item.state); });
}

/// REQUIRES: the items from `begin` on are distinct.
ParallelStacks::Frame ParallelStacks::close(std::uint32_t begin) {
  Frame frame;
  frame.begin = frame.end = begin;
  frame.nodes = frame.fresh = static_cast<std::uint32_t>(nodes_.size());
  frame.edges = static_cast<std::uint32_t>(edges_.size());
  if (items_.size() == begin + 1 && grammar_->plain(items_[begin].state)) {
    frame.plain = items_[begin].state;
    frame.plain_node = items_[begin].node;
    items_.pop_back();
    return frame;
  }
  stamp_++;
  in_table_ = 0;
  overflow_ = false;
  for (std::uint32_t i = begin; i < items_.size() && !overflow_; ++i) {
    expand(items_[i], frame);
    overflow_ |= items_.size() - begin > kMaxItems || edges_.size() - frame.edges > kMaxEdges;
  }
  work_ += items_.size() - begin;
  if (overflow_) {
    items_.resize(begin);
    nodes_.resize(frame.nodes);
    edges_.resize(frame.edges);
    frame.complete = false;
    return frame;
  }
  frame.end = static_cast<std::uint32_t>(items_.size());
  frame.nodes = static_cast<std::uint32_t>(nodes_.size());
  frame.edges = static_cast<std::uint32_t>(edges_.size());
  return frame;
}

void ParallelStacks::expand(Item item, Frame& frame) {
  if (grammar_->plain(item.state)) return;
  // A rule that ends where it was called read nothing: call() has already stepped over it, as it is nullable.
  if (grammar_->accepting(item.state) && item.node < static_cast<std::int32_t>(frame.fresh)) {
    for (std::int32_t e = nodes_[at(item.node)].first_edge; e >= 0; e = edges_[at(e)].next) {
      ++work_;
      if (edges_[at(e)].back == kExit)
        frame.complete = true;
      else
        add_item({edges_[at(e)].back, edges_[at(e)].parent}, frame.begin);
      if (items_.size() - frame.begin > kMaxItems) return;
    }
  }
  for (const std::int32_t to : grammar_->jumps(item.state)) add_item({to, item.node}, frame.begin);
  for (const Grammar::Call& c : grammar_->calls(item.state)) call(item, c, frame);
}

void ParallelStacks::call(Item item, const Grammar::Call& c, const Frame& frame) {
  bool is_new = false;
  const std::int32_t node = node_of(c.rule, frame.fresh, is_new);
  if (c.is_tail && item.node < static_cast<std::int32_t>(frame.fresh)) {
    // Return straight to where the caller would return: right recursion then needs no stack.
    for (std::int32_t e = nodes_[at(item.node)].first_edge; e >= 0; e = edges_[at(e)].next) {
      const Edge edge = edges_[at(e)];
      add_edge(node, edge.back, edge.parent);
      if (edges_.size() - frame.edges > kMaxEdges) break;
    }
  } else {
    add_edge(node, c.back, item.node);
  }
  if (is_new) add_item({grammar_->start(c.rule), node}, frame.begin);
  if (grammar_->nullable(c.rule)) add_item({c.back, item.node}, frame.begin);
}

std::int32_t ParallelStacks::node_of(std::int32_t rule, std::uint32_t fresh, bool& is_new) {
  for (std::size_t n = fresh; n < nodes_.size(); ++n) {
    if (nodes_[n].rule == rule) return static_cast<std::int32_t>(n);
  }
  is_new = true;
  nodes_.push_back({rule, -1});
  return static_cast<std::int32_t>(nodes_.size()) - 1;
}

void ParallelStacks::add_edge(std::int32_t node, std::int32_t back, std::int32_t parent) {
  std::int32_t& head = nodes_[at(node)].first_edge;
  for (std::int32_t e = head; e >= 0; e = edges_[at(e)].next) {
    ++work_;
    if (edges_[at(e)].back == back && edges_[at(e)].parent == parent) return;
  }
  edges_.push_back({back, parent, head});
  head = static_cast<std::int32_t>(edges_.size()) - 1;
}

void ParallelStacks::add_item(Item item, std::uint32_t begin) {
  if (!is_known(item, begin)) items_.push_back(item);
}

bool ParallelStacks::is_known(Item item, std::uint32_t begin) {
  const auto count = static_cast<std::uint32_t>(items_.size()) - begin;
  if (count <= kLinear) return std::find(items_.begin() + begin, items_.end(), item) != items_.end();
  if (seen_.empty()) seen_.resize(kTableSize, {{0, 0}, 0});
  if (count > 2 * kMaxItems - 64) {  // never fill the table: the frame is too large anyway
    overflow_ = true;
    return true;
  }
  const auto slot_of = [&](Item x) {
    std::uint64_t h =
        static_cast<std::uint64_t>(x.state) * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(x.node);
    h *= 0xD6E8FEB86659FD93ULL;
    std::size_t slot = (h >> 40) & (kTableSize - 1);
    while (seen_[slot].second == stamp_ && !(seen_[slot].first == x)) slot = (slot + 1) & (kTableSize - 1);
    return slot;
  };
  for (; in_table_ < count; ++in_table_) {
    const Item known = items_[begin + in_table_];
    seen_[slot_of(known)] = {known, stamp_};
  }
  return seen_[slot_of(item)].second == stamp_;
}

ParallelStacks::Frame ParallelStacks::keep_only(Frame frame) {
  items_.erase(items_.begin(), items_.begin() + frame.begin);
  frame.end -= frame.begin;
  frame.begin = 0;
  items_.resize(frame.end);
  nodes_.resize(frame.nodes);
  edges_.resize(frame.edges);
  if (nodes_.size() > garbage_limit_) {
    collect_garbage(frame);
    garbage_limit_ = std::max<std::uint32_t>(512, 2 * static_cast<std::uint32_t>(nodes_.size()));
  }
  return frame;
}

/// Copies the nodes that the frame's items can reach, in their old order (a frame's fresh nodes stay the
/// last).
void ParallelStacks::collect_garbage(Frame& frame) {
  std::vector<std::int32_t> id(nodes_.size(), -1), todo{0};
  const auto reach = [&](std::int32_t node) {
    if (id[at(node)] < 0) todo.push_back(node);
    id[at(node)] = 0;
  };
  id[0] = 0;
  if (frame.plain >= 0) reach(frame.plain_node);
  for (const Item& item : items_) reach(item.node);
  while (!todo.empty()) {
    const std::int32_t node = todo.back();
    todo.pop_back();
    for (std::int32_t e = nodes_[at(node)].first_edge; e >= 0; e = edges_[at(e)].next)
      reach(edges_[at(e)].parent);
  }
  std::vector<Node> nodes;
  std::uint32_t fresh = 0;
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    if (id[n] < 0) continue;
    id[n] = static_cast<std::int32_t>(nodes.size());
    nodes.push_back(nodes_[n]);
    if (n < frame.fresh) ++fresh;
  }
  std::vector<Edge> edges;
  for (Node& node : nodes) {
    std::int32_t e = node.first_edge;
    node.first_edge = -1;
    for (; e >= 0; e = edges_[at(e)].next) {
      edges.push_back({edges_[at(e)].back, id[at(edges_[at(e)].parent)], node.first_edge});
      node.first_edge = static_cast<std::int32_t>(edges.size()) - 1;
    }
  }
  nodes_ = std::move(nodes);
  edges_ = std::move(edges);
  for (Item& item : items_) item.node = id[at(item.node)];
  if (frame.plain >= 0) frame.plain_node = id[at(frame.plain_node)];
  frame.fresh = fresh;
  frame.nodes = static_cast<std::uint32_t>(nodes_.size());
  frame.edges = static_cast<std::uint32_t>(edges_.size());
}

}  // namespace tw::text
