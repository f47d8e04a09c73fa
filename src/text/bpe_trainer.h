// Trains a byte-level BPE vocabulary. The merges are those that the `tokenizers` package finds in the same
// text: the most frequent pair of neighbours first, and of equally frequent ones the pair with the smallest
// ids. Algorithm: Sennrich et al. 2016 (arXiv 1508.07909), with counts that are updated and not taken anew.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_counts.h"

namespace tw::text {

struct BpeTrainerOptions {
  int vocab_size = 4096;            ///< special tokens and bytes included
  std::uint64_t min_frequency = 2;  ///< rarer pairs are not merged
  /// Get the first ids. The first of them is what stands before and after every document (BOS and EOS).
  std::vector<std::string> special_tokens = {"<|endoftext|>"};
  /// How text is cut into pieces that merges stay inside: "gpt-2", or "smollm", where each digit stands
  /// alone.
  std::string pre = "gpt-2";
  bool all_bytes = true;  ///< all 256 bytes are tokens; else those that occur, and the others are lost
  int threads = 1;
  /// What is being done, how much of it is done and how much there is (0: not known). On the calling thread.
  std::function<void(const char* what, std::uint64_t done, std::uint64_t all)> progress = {};
};

/// For one thread at a time.
class BpeTrainer {
 public:
  /// Fails with kInvalidArgument, naming the option.
  static base::Result<BpeTrainer> create(BpeTrainerOptions options);

  /// Counts the pieces of these documents, in parallel; may be called again and again, so that a corpus need
  /// not fit in memory.
  void add(std::span<const std::string_view> documents);

  /// The vocabulary, as Tokenizer::create wants it. Fails with kInvalidArgument if nothing was added.
  base::Result<TokenizerSpec> train() const;

 private:
  BpeTrainer(BpeTrainerOptions options, PreTokenizer pre);

  BpeTrainerOptions options_;
  PreTokenizer pre_;
  WordCounts counts_;
  std::uint64_t bytes_ = 0;
};

}  // namespace tw::text
