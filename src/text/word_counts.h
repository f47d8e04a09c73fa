// How often each piece of a corpus occurs: what training a tokenizer starts from.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/pretokenizer.h"

namespace tw::text {

/// A set of byte strings with a count each. Open addressing; the strings lie one after the other.
class WordCounts {
 public:
  WordCounts();
  void add(std::string_view word, std::uint64_t count = 1);
  /// How many different words there are.
  std::size_t size() const { return words_.size(); }
  std::string_view word(std::size_t i) const { return {text_.data() + words_[i].offset, words_[i].length}; }
  std::uint64_t count(std::size_t i) const { return words_[i].count; }

 private:
  struct Word {
    std::uint64_t hash, offset, count;
    std::uint32_t length;
  };
  void grow();

  std::vector<Word> words_;
  std::vector<std::uint32_t> slots_;  ///< 1 + an index into words_, or 0
  std::string text_;
};

/// Cuts documents into parts of about `bytes` bytes, each a view of its document, only where a piece of the
/// pre-tokenizers "gpt-2" and "smollm" ends anyway: before a line feed that follows a printable ASCII
/// character, which no piece of theirs reaches across and no look-ahead sees.
std::vector<std::string_view> cut_documents(std::span<const std::string_view> documents, std::size_t bytes);

/// Whether the ids of a text are those of its cut_documents parts, one after the other.
bool cuts_are_safe(const TokenizerSpec& spec);

/// Adds the pieces of the documents to `counts`, on `threads` threads. `progress` gets the bytes done, on the
/// calling thread. REQUIRES: the pre-tokenizer is one that cut_documents is made for.
void count_words(std::span<const std::string_view> documents, const PreTokenizer& pre, int threads,
                 const std::function<void(std::uint64_t bytes)>& progress, WordCounts& counts);

}  // namespace tw::text
