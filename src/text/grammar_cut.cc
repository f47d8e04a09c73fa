// A grammar without what a vocabulary cannot write.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "text/grammar.h"
#include "text/token_trie.h"

namespace tw::text {
namespace {

constexpr std::uint64_t kMaxWork = 50'000'000;  // some 0.2 s, met by no grammar that people write

using Bytes = std::array<bool, 256>;

/// The bytes that tokens have.
Bytes bytes_of(const TokenTrie& trie) {
  Bytes has{};
  for (const TokenTrie::Node& node : trie.nodes()) has[node.byte] |= node.depth > 0;
  return has;
}

}  // namespace

/// Sees the tables of a Grammar, as GrammarAssembler does.
class GrammarCutter {
 public:
  GrammarCutter(const Grammar& whole, const Bytes& writable)
      : whole_(whole),
        writable_(whole.class_count_, false),
        targets_(whole.rows_.size() / whole.class_count_),
        lives_(whole.states_.size(), false) {
    for (std::size_t byte = 0; byte < writable.size(); ++byte) {
      if (writable[byte]) writable_[whole.classes_[byte]] = true;
    }
    list_targets();
    if (!find_living()) std::fill(lives_.begin(), lives_.end(), true);
  }

  bool all_lives() const { return std::find(lives_.begin(), lives_.end(), false) == lives_.end(); }
  bool nothing_lives() const { return !lives(whole_.start(Grammar::kRoot)); }

  /// What lives; the states keep their numbers. REQUIRES: something does.
  GrammarPtr run() {
    cut_ = std::make_shared<Grammar>();
    cut_->classes_ = whole_.classes_;
    cut_->class_count_ = whole_.class_count_;
    cut_->rules_ = whole_.rules_;
    for (std::int32_t s = 0; s < whole_.state_count(); ++s) add_state(s);
    cut_->mark_leads_and_tails();
    return cut_;
  }

  /// Some bytes that the grammar has and the vocabulary has not.
  std::string missing_bytes(const Bytes& writable) const {
    constexpr int kMost = 5;
    std::string list;
    int count = 0;
    for (std::size_t byte = 0; byte < writable.size(); ++byte) {
      if (writable[byte] || !is_read(whole_.classes_[byte]) || ++count > kMost) continue;
      list += fmt::format("{}0x{:02X}", list.empty() ? "" : ", ", byte);
    }
    return count > kMost ? list + " and others" : list;
  }

 private:
  bool lives(std::int32_t state) const { return lives_[Grammar::at(state)]; }
  std::int32_t delta(std::size_t row, std::size_t byte_class) const {
    return whole_.rows_[row * whole_.class_count_ + byte_class];
  }

  bool is_read(std::size_t byte_class) const {
    for (std::size_t row = 0; row < targets_.size(); ++row) {
      if (delta(row, byte_class) != Grammar::kNoDelta) return true;
    }
    return false;
  }

  void list_targets() {
    for (std::size_t row = 0; row < targets_.size(); ++row) {
      std::vector<std::int32_t>& deltas = targets_[row];
      for (std::size_t c = 0; c < writable_.size(); ++c) {
        if (writable_[c] && delta(row, c) != Grammar::kNoDelta) deltas.push_back(delta(row, c));
      }
      std::sort(deltas.begin(), deltas.end());
      deltas.erase(std::unique(deltas.begin(), deltas.end()), deltas.end());
    }
  }

  bool call_lives(const Grammar::Call& call) const {
    return lives(call.back) && lives(whole_.start(call.rule));
  }

  /// Whether a sentence of the state's rule can be ended from here, as far as is known.
  bool can_end(std::int32_t s) const {
    const auto& deltas = targets_[whole_.states_[Grammar::at(s)].row];
    const auto calls = whole_.calls(s);
    const auto jumps = whole_.jumps(s);
    return whole_.accepting(s) ||
           std::any_of(deltas.begin(), deltas.end(), [&](std::int32_t d) { return lives(s + d); }) ||
           std::any_of(jumps.begin(), jumps.end(), [&](std::int32_t to) { return lives(to); }) ||
           std::any_of(calls.begin(), calls.end(), [&](const Grammar::Call& c) { return call_lives(c); });
  }

  /// Targets mostly have higher numbers, so going down few rounds suffice. False: it takes too long.
  bool find_living() {
    std::uint64_t work = 0;
    for (bool changed = true; changed;) {
      changed = false;
      for (std::int32_t s = whole_.state_count(); s-- > 0;) {
        work += 1 + targets_[whole_.states_[Grammar::at(s)].row].size();
        if (lives(s) || !can_end(s)) continue;
        lives_[Grammar::at(s)] = changed = true;
      }
      if (work > kMaxWork) return false;
    }
    return true;
  }

  void add_state(std::int32_t s) {
    Grammar::State state = whole_.states_[Grammar::at(s)];
    std::vector<std::int32_t> row(whole_.class_count_, Grammar::kNoDelta);
    state.leads_on = false;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::int32_t d = delta(state.row, c);
      if (!writable_[c] || d == Grammar::kNoDelta || !lives(s + d)) continue;
      row[c] = d;
      state.leads_on = true;
    }
    state.first_call = static_cast<std::uint32_t>(cut_->calls_.size());
    for (const Grammar::Call& call : whole_.calls(s)) {
      if (call_lives(call)) cut_->calls_.push_back(call);
    }
    state.call_count = static_cast<std::uint32_t>(cut_->calls_.size() - state.first_call);
    state.first_jump = static_cast<std::uint32_t>(cut_->jumps_.size());
    for (const std::int32_t to : whole_.jumps(s)) {
      if (lives(to)) cut_->jumps_.push_back(to);
    }
    state.jump_count = static_cast<std::uint32_t>(cut_->jumps_.size() - state.first_jump);
    state.leads_on |= state.call_count > 0;
    state.plain = !state.accepting && state.call_count == 0 && state.jump_count == 0;
    const auto next = static_cast<std::uint32_t>(known_rows_.size());
    const auto [it, is_new] = known_rows_.try_emplace(std::move(row), next);
    if (is_new) cut_->rows_.insert(cut_->rows_.end(), it->first.begin(), it->first.end());
    state.row = it->second;
    cut_->states_.push_back(state);
  }

  const Grammar& whole_;
  std::vector<bool> writable_;                      ///< by class: some byte of it is
  std::vector<std::vector<std::int32_t>> targets_;  ///< by row: the deltas of its writable classes
  std::vector<bool> lives_;                         ///< by state: can_end()
  std::shared_ptr<Grammar> cut_;
  std::map<std::vector<std::int32_t>, std::uint32_t> known_rows_;
};

base::Result<GrammarPtr> Grammar::cut_to(const std::shared_ptr<const TokenTrie>& trie) const {
  const std::lock_guard lock(cache_mutex_);
  std::erase_if(cuts_, [](const auto& entry) { return entry.first.expired(); });
  for (const auto& [known, cut] : cuts_) {
    if (!known.owner_before(trie) && !trie.owner_before(known)) return cut;
  }
  const Bytes writable = bytes_of(*trie);
  GrammarPtr cut;
  if (std::find(writable.begin(), writable.end(), false) != writable.end()) {
    GrammarCutter cutter(*this, writable);
    if (cutter.nothing_lives()) {
      return base::error(base::Code::kUnsupported,
                         "this model cannot write any text that the constraint allows: no token of its "
                         "vocabulary has the byte {}",
                         cutter.missing_bytes(writable));
    }
    if (!cutter.all_lives()) cut = cutter.run();
  }
  cuts_.emplace_back(trie, cut);
  return cut;
}

base::Result<GrammarPtr> writable_part(const GrammarPtr& grammar,
                                       const std::shared_ptr<const TokenTrie>& trie) {
  TW_ASSIGN_OR_RETURN(GrammarPtr cut, grammar->cut_to(trie));
  return cut == nullptr ? grammar : cut;
}

}  // namespace tw::text
