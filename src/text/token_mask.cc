#include "text/token_mask.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

namespace tw::text {
namespace {

constexpr std::uint64_t kMaxCachedWork = 20'000'000;  // once per state of a grammar
constexpr std::uint64_t kMaxWork = 3'000'000;         // for each mask: some 50 ms

using Frame = ParallelStacks::Frame;

/// Walks the part of the trie below one node, with the parses that are alive at that node.
class TrieWalk {
 public:
  TrieWalk(const Grammar& grammar, const TokenTrie& trie, ParallelStacks& stacks,
           std::span<std::uint32_t> bits)
      : grammar_(grammar), trie_(trie), stacks_(stacks), bits_(bits), frames_(trie.max_depth() + 1) {}

  /// Sets the bits of the tokens below `top`; `exits`, if given, gets the inner nodes with a complete frame.
  /// Stops when the stacks have done more than `work_limit` steps.
  void run(const Frame& frame, std::uint32_t top, std::vector<std::uint32_t>* exits,
           std::uint64_t work_limit) {
    const auto& nodes = trie_.nodes();
    frames_[nodes[top].depth] = frame;
    const std::uint32_t end = nodes[top].end;
    for (std::uint32_t n = top + 1; n < end && stacks_.work() < work_limit;) {
      const TokenTrie::Node& node = nodes[n];
      if (!enter(n, node)) {
        n = node.end;
        continue;
      }
      for (const std::int32_t t : trie_.tokens_of(n))
        bits_[static_cast<std::size_t>(t) >> 5] |= 1U << (t & 31);
      if (exits != nullptr && node.end > n + 1 && frames_[node.depth].complete) exits->push_back(n);
      ++n;
    }
    stacks_.truncate(frame);
  }

 private:
  /// Makes the node's frame from its parent's; false if no parse takes its byte. Leaves get no frame.
  bool enter(std::uint32_t n, const TokenTrie::Node& node) {
    const Frame& parent = frames_[node.depth - std::size_t{1}];
    const bool is_leaf = node.end == n + 1;
    if (parent.plain >= 0) {  // by far the most frequent case: one parse, inside a string or a number
      const std::int32_t to = grammar_.next(parent.plain, node.byte);
      if (to == Grammar::kNone || is_leaf) return to != Grammar::kNone;
      if (grammar_.plain(to)) {
        frames_[node.depth] = parent;
        frames_[node.depth].plain = to;
        return true;
      }
    }
    stacks_.truncate(parent);
    const Frame next = stacks_.read(parent, node.byte, is_leaf);
    if (!is_leaf) frames_[node.depth] = next;
    return next.alive();
  }

  const Grammar& grammar_;
  const TokenTrie& trie_;
  ParallelStacks& stacks_;
  std::span<std::uint32_t> bits_;
  std::vector<Frame> frames_;  ///< by depth
};

/// Few tokens are kept as a list, many as bits.
void compress(StateMask& mask) {
  std::size_t count = 0;
  for (const std::uint32_t word : mask.bits) count += static_cast<std::size_t>(std::popcount(word));
  if (count >= mask.bits.size() / 2) return;
  for (std::size_t i = 0; i < mask.bits.size(); ++i) {
    for (std::uint32_t word = mask.bits[i]; word != 0; word &= word - 1) {
      mask.tokens.push_back(static_cast<std::int32_t>(32 * i) + std::countr_zero(word));
    }
  }
  std::vector<std::uint32_t>().swap(mask.bits);
}

}  // namespace

std::shared_ptr<MaskCache> Grammar::mask_cache(const std::shared_ptr<const TokenTrie>& trie) const {
  const std::lock_guard lock(cache_mutex_);
  std::erase_if(caches_, [](const auto& entry) { return entry.first.expired(); });
  for (const auto& [known, cache] : caches_) {
    if (!known.owner_before(trie) && !trie.owner_before(known)) return cache;
  }
  caches_.emplace_back(trie, std::make_shared<MaskCache>());
  return caches_.back().second;
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::move(grammar)),
      trie_(std::move(trie)),
      cache_(grammar_->mask_cache(trie_)),
      stacks_(*grammar_),
      frame_(stacks_.start()) {}

std::shared_ptr<const StateMask> GrammarMatcher::mask_of(std::int32_t state) const {
  if (auto known = cache_->find(state)) return known;
  auto mask = std::make_shared<StateMask>();
  mask->bits.assign(trie_->mask_words(), 0);
  ParallelStacks stacks(*grammar_);
  const Frame frame = stacks.begin_at(state);
  if (frame.alive())
    TrieWalk(*grammar_, *trie_, stacks, mask->bits).run(frame, 0, &mask->exits, kMaxCachedWork);
  compress(*mask);
  cache_->insert(state, mask);
  return mask;
}

void GrammarMatcher::fill_mask(std::span<std::uint32_t> bits) const {
  std::fill(bits.begin(), bits.end(), 0U);
  std::vector<ParallelStacks::Item> items;
  stacks_.old_items(frame_, items);
  std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.state < b.state; });
  TrieWalk walk(*grammar_, *trie_, stacks_, bits);
  const std::uint64_t work_limit = stacks_.work() + kMaxWork;
  std::vector<std::int32_t> nodes;
  for (std::size_t i = 0; i < items.size();) {
    const std::int32_t state = items[i].state;
    nodes.clear();
    for (; i < items.size() && items[i].state == state; ++i) nodes.push_back(items[i].node);
    const auto mask = mask_of(state);
    mask->add_to(bits);
    if (mask->exits.empty()) continue;
    stacks_.truncate(frame_);
    const Frame after = stacks_.returned(nodes);
    if (!after.alive()) continue;
    for (const std::uint32_t exit : mask->exits) walk.run(after, exit, nullptr, work_limit);
  }
  stacks_.truncate(frame_);
}

bool GrammarMatcher::accept(std::int32_t token) {
  const std::string_view piece = trie_->piece(token);
  return !piece.empty() && accept_text(piece);
}

bool GrammarMatcher::accept_text(std::string_view bytes) {
  Frame frame = frame_;
  for (const char byte : bytes) {
    frame = stacks_.read(frame, static_cast<std::uint8_t>(byte));
    if (!frame.alive()) {
      limited_ = stacks_.overflowed();
      stacks_.truncate(frame_);
      return false;
    }
  }
  if (!bytes.empty()) frame_ = stacks_.keep_only(frame);
  return true;
}

}  // namespace tw::text
