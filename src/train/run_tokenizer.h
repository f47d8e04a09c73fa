// A run's tokenizer: trained on its data, or somebody else's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "spec/train_config.h"
#include "text/tokenizer.h"
#include "train/corpus.h"
#include "train/run_observer.h"
#include "train/tokenize_corpus.h"

namespace tw::train {

enum class SourceKind { kText, kChat, kPreference };

/// A stage's source of data, opened.
struct SourceText {
  Corpus corpus;
  SourceKind kind = SourceKind::kText;
  double weight = 1;
};

struct RunTokenizer {
  /// tokenizer.json and tokenizer_config.json. The latter may be empty, and both of a run that writes none.
  std::string json, config_json;
  std::string chat_template;  ///< empty: no conversations
  text::TokenizerSpec spec;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::string sha256;  ///< of `json`, or of `spec`
  bool cuts_safely = false;

  CorpusTokenizer corpus_tokenizer() const { return {*tokenizer, sha256, cuts_safely}; }
};

/// From the texts of a tokenizer's files.
base::Result<RunTokenizer> read_run_tokenizer(std::string json, std::string config_json,
                                              std::string chat_template);

/// What keep_tokenizer has written in a folder of its own, whole or not there. Fails with kCorrupt.
base::Result<std::optional<RunTokenizer>> read_kept_tokenizer(const std::string& folder);
base::Status keep_tokenizer(const RunTokenizer& tokenizer, const std::string& folder);

/// As the recipe says; `sources` are what it is trained on, of each about `most_bytes` at most. Conversations
/// get the words of ChatML where the tokenizer brings no template. `written`: the run writes the tokenizer,
/// so that it fails with kUnsupported for a GGUF file's that no tokenizer.json can say.
base::Result<RunTokenizer> make_run_tokenizer(const spec::TrainTokenizer& wanted,
                                              const std::vector<SourceText>& sources, int threads,
                                              std::uint64_t most_bytes, bool written, RunObserver& observer);

}  // namespace tw::train
