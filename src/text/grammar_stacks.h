// All parses of the text so far, side by side: the run-time of Grammar.
//
// A parse in progress is an Item: a state of some rule's automaton, and the stack node that says where the
// rule returns to. Stacks share their tails: all calls of one rule at one place in the text share one node,
// which lists their return points (a graph-structured stack, as in generalized LR parsing and Earley's
// algorithm). So the number of items is bounded by states x places, never by the number of parses, and left
// recursion is no special case. Reference: E. Scott, A. Johnstone, "GLL parsing", ENTCS 253 (2010).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "text/grammar.h"

namespace tw::text {

/// Not thread-safe; copyable. Frames are used like a stack: truncate(frame) drops all that came after it.
class ParallelStacks {
 public:
  struct Item {
    std::int32_t state;
    std::int32_t node;
    bool operator==(const Item&) const = default;
  };

  /// The parses after some byte. With plain >= 0 there is exactly one, in a state that only reads bytes.
  struct Frame {
    std::int32_t plain = -1;
    std::int32_t plain_node = 0;
    std::uint32_t begin = 0, end = 0;    ///< items, closed over calls, returns and jumps (when not plain)
    std::uint32_t nodes = 0, edges = 0;  ///< sizes of the tables when the frame was made
    std::uint32_t fresh = 0;             ///< nodes from here on were made by this frame's own calls
    bool complete = false;               ///< the text so far is a whole sentence
    bool alive() const { return plain >= 0 || end > begin; }
  };

  /// More items or edges than these in one frame, and the text is refused: no grammar may eat the machine.
  static constexpr std::uint32_t kMaxItems = 1024;
  static constexpr std::uint32_t kMaxEdges = 16'384;

  /// An empty set of parses; begin with one of the two functions below.
  explicit ParallelStacks(const Grammar& grammar) : grammar_(&grammar) { clear(); }
  void clear();
  /// The frame before any text, from the root rule.
  Frame start() { return begin_at(grammar_->start(Grammar::kRoot)); }
  /// The frame of one state whose stack is unknown: `complete` then means that the state's rule may end.
  Frame begin_at(std::int32_t state);
  /// The frame after the rules of all these items have ended, at the same place. May be dead.
  Frame returned(const std::vector<std::int32_t>& nodes);

  /// Reads a byte. Returns a dead frame if no parse can. With `only_test` the frame is not closed: only
  /// alive() holds.
  Frame read(const Frame& from, std::uint8_t byte, bool only_test = false);
  void truncate(const Frame& frame);
  /// The last frame read is dead because it met a limit.
  bool overflowed() const { return overflow_; }

  const Item* items(const Frame& frame) const { return items_.data() + frame.begin; }
  /// Items of a frame whose stack is older than the frame: (state, node). The others follow from them by
  /// calls.
  void old_items(const Frame& frame, std::vector<Item>& out) const;
  bool leads_on(const Frame& frame) const;
  std::uint64_t work() const { return work_; }

  /// Keeps only what `frame` needs and returns it at its new place; all other frames become invalid.
  Frame keep_only(Frame frame);

 private:
  static constexpr std::int32_t kExit = -1;  ///< the return point of the outermost rule
  struct Node {
    std::int32_t rule;
    std::int32_t first_edge;
  };
  struct Edge {
    std::int32_t back;
    std::int32_t parent;
    std::int32_t next;
  };

  Frame close(std::uint32_t begin);
  void expand(Item item, Frame& frame);
  void call(Item item, const Grammar::Call& call, const Frame& frame);
  void add_item(Item item, std::uint32_t begin);
  bool is_known(Item item, std::uint32_t begin);
  void add_edge(std::int32_t node, std::int32_t back, std::int32_t parent);
  std::int32_t node_of(std::int32_t rule, std::uint32_t fresh, bool& is_new);
  void collect_garbage(Frame& frame);

  const Grammar* grammar_;
  std::vector<Item> items_;
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  std::vector<std::pair<Item, std::uint32_t>> seen_;  ///< hash table of (item, stamp) for large frames
  std::uint32_t stamp_ = 0;
  std::uint32_t in_table_ = 0;  ///< items of the current frame that are in seen_
  std::uint32_t garbage_limit_ = 512;
  bool overflow_ = false;
  std::uint64_t work_ = 0;
};

}  // namespace tw::text
