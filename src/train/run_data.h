// A run's data: folders of text opened, tokenized once, and kept as token files in the run's folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spec/train_config.h"
#include "train/batch_loader.h"
#include "train/run_tokenizer.h"

namespace tw::train {

/// Opens what a stage names, but for what lies in the output folder. Fails with the first place that is not
/// there, is empty, or is no text.
base::Result<std::vector<SourceText>> open_sources(const spec::TrainStage& stage, const std::string& out);

/// Tokenizes the sources into files below `folder`, or takes those that are there and still right.
base::Result<std::vector<MixtureSource>> tokenize_sources(const std::vector<SourceText>& sources,
                                                          const RunTokenizer& tokenizer,
                                                          const std::string& folder, int threads,
                                                          RunObserver& observer);

/// The files that an earlier call made for this stage, whatever became of the text. Fails with what is not
/// there, not whole, or another tokenizer's.
base::Result<std::vector<MixtureSource>> kept_tokens(const spec::TrainStage& stage,
                                                     const RunTokenizer& tokenizer,
                                                     const std::string& folder);

/// Tokens in all, and those of them that are learnt from.
struct DataSize {
  std::int64_t tokens = 0, training = 0;
};
DataSize size_of(const std::vector<MixtureSource>& sources, double validation);

/// About how many tokens the sources will be, by tokenizing their first megabyte. For plans.
base::Result<std::int64_t> estimate_tokens(const std::vector<SourceText>& sources,
                                           const RunTokenizer& tokenizer);

}  // namespace tw::train
