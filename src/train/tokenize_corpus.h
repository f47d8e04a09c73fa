// From a folder of text to a token file, in parallel and in memory that does not grow with the text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "text/tokenizer.h"
#include "text/word_counts.h"
#include "train/corpus.h"
#include "train/token_file.h"

namespace tw::train {

/// The tokenizer that makes the ids.
struct CorpusTokenizer {
  const text::Tokenizer& tokenizer;
  std::string sha256;        ///< of its tokenizer.json: ids of another one are not reused
  bool cuts_safely = false;  ///< see text::cuts_are_safe: a long document may be tokenized in parts
};

struct TokenizeOptions {
  int threads = 1;
  /// Bytes of text done and in all. On the calling thread.
  std::function<void(std::uint64_t done, std::uint64_t all)> progress = {};
};

/// Makes the token file `path` and its manifest PATH.json, or leaves them if the manifest says that they were
/// made of just these files by this tokenizer and the file has its hash. A document is BOS (if the tokenizer
/// adds one), its tokens, EOS (if there is one).
base::Result<TokenFile> tokenize_corpus(const Corpus& corpus, const CorpusTokenizer& with,
                                        const std::string& path, const TokenizeOptions& options);

/// The token file of an earlier call, whatever became of what it was made of. Fails with kNotFound, and with
/// kCorrupt when it does not have its manifest's hash.
base::Result<TokenFile> kept_token_file(const std::string& path);

/// As tokenize_corpus does for another way to fill the file: `kind` names it in the manifest, `fill` adds the
/// documents.
using FillTokens = std::function<base::Status(TokenFileWriter&)>;
base::Result<TokenFile> make_token_file(const Corpus& corpus, const CorpusTokenizer& with,
                                        const std::string& path, const std::string& kind, bool has_mask,
                                        const FillTokens& fill);

}  // namespace tw::train
