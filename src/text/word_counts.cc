#include "text/word_counts.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "base/hash64.h"
#include "base/team.h"
#include "text/pretokenizer_table.h"

namespace tw::text {
namespace {

constexpr std::size_t kFirstSlots = 1 << 12;  // a power of two
constexpr std::size_t kPartBytes = 256 << 10;

/// Short words are most of a text, so those are hashed inline.
std::uint64_t hash_word(std::string_view word) {
  if (word.size() > 16) return base::hash64(word);
  std::uint64_t low = 0, high = 0;
  std::memcpy(&low, word.data(), std::min<std::size_t>(word.size(), 8));
  if (word.size() > 8) std::memcpy(&high, word.data() + 8, word.size() - 8);
  std::uint64_t h = (low ^ (high * 0x9E3779B97F4A7C15u) ^ word.size()) * 0xD6E8FEB86659FD93u;
  h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93u;
  return h ^ (h >> 32);
}

bool is_cut(std::string_view text, std::size_t at) {
  return text[at] == '\n' && text[at - 1] > 0x20 && text[at - 1] < 0x7F;
}

}  // namespace

WordCounts::WordCounts() : slots_(kFirstSlots) {}

void WordCounts::add(std::string_view word, std::uint64_t count) {
  const std::uint64_t hash = hash_word(word);
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    Word& found = words_[slots_[slot] - 1];
    if (found.hash == hash && this->word(slots_[slot] - 1) == word) {
      found.count += count;
      return;
    }
  }
  TW_CHECK(words_.size() < 0xFFFFFFFEu, "fewer than 2^32 different words");
  words_.push_back({hash, text_.size(), count, static_cast<std::uint32_t>(word.size())});
  text_ += word;
  slots_[slot] = static_cast<std::uint32_t>(words_.size());
  if (words_.size() * 2 > slots_.size()) grow();
}

void WordCounts::grow() {
  slots_.assign(slots_.size() * 2, 0);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    std::size_t slot = words_[i].hash & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<std::uint32_t>(i + 1);
  }
}

std::vector<std::string_view> cut_documents(std::span<const std::string_view> documents, std::size_t bytes) {
  std::vector<std::string_view> parts;
  for (std::string_view rest : documents) {
    while (rest.size() > bytes) {
      std::size_t at = std::max<std::size_t>(bytes, 1);
      while (at < rest.size() && !is_cut(rest, at)) ++at;
      if (at == rest.size()) break;
      parts.push_back(rest.substr(0, at));
      rest.remove_prefix(at);
    }
    if (!rest.empty()) parts.push_back(rest);
  }
  return parts;
}

bool cuts_are_safe(const TokenizerSpec& spec) {
  const std::vector<PreTokenizerStep> steps =
      spec.pre_steps.empty() ? pre_tokenizer_recipe(spec.pre).steps : spec.pre_steps;
  if (spec.kind != TokenizerKind::kBpe || spec.add_prefix_space || !spec.normalizers.empty() || steps.empty())
    return false;
  for (std::size_t i = 0; i < spec.tokens.size(); ++i) {
    // Such a token is found in plain text, perhaps across a line feed.
    if (!spec.types.empty() && spec.types[i] == TokenType::kUserDefined) return false;
  }
  const auto known = [](const PreTokenizerStep& step) {
    return step.behavior == PreTokenizerStep::Behavior::kIsolated && !step.invert && !step.is_literal &&
           (step.pattern == kDigitPattern || step.pattern == kGpt2Pattern);
  };
  return std::all_of(steps.begin(), steps.end(), known) && steps.back().pattern == kGpt2Pattern;
}

void count_words(std::span<const std::string_view> documents, const PreTokenizer& pre, int threads,
                 const std::function<void(std::uint64_t)>& progress, WordCounts& counts) {
  const std::vector<std::string_view> parts = cut_documents(documents, kPartBytes);
  const int workers = std::max(1, std::min<int>(threads, static_cast<int>(parts.size())));
  std::vector<WordCounts> own(static_cast<std::size_t>(workers - 1));
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> done{0};
  const auto work = [&](int worker) {
    WordCounts& mine = worker == 0 ? counts : own[static_cast<std::size_t>(worker - 1)];
    PreTokenizer::Scratch scratch;
    std::vector<Span> pieces;
    for (std::size_t i = next++; i < parts.size(); i = next++) {
      pieces.clear();
      pre.split(parts[i], scratch, pieces);
      for (const Span piece : pieces) mine.add(parts[i].substr(piece.begin, piece.end - piece.begin));
      done += parts[i].size();
      if (worker == 0 && progress) progress(done);
    }
  };
  if (workers == 1) {
    work(0);
  } else {
    base::Team(workers).run(work);
  }
  for (const WordCounts& other : own) {
    for (std::size_t i = 0; i < other.size(); ++i) counts.add(other.word(i), other.count(i));
  }
  if (progress) progress(done);
}

}  // namespace tw::text
