// Batches from a mixture of token files: packed to a budget of tokens, without padding.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/json.h"
#include "train/token_source.h"

namespace tw::train {

struct MixtureSource {
  std::shared_ptr<const TokenFile> file;
  double weight = 1;      ///< its share of the tokens is this over the sum of all
  std::string text = {};  ///< where the tokens come from, for those who are told of it; empty: the file
};

struct BatchLoaderOptions {
  std::int64_t batch_tokens = 0;  ///< T of a batch
  std::int64_t sequence = 0;      ///< the longest document in a batch
  std::uint64_t seed = 0;
  double validation = 0;  ///< share of each file, at its end, that is not trained on
  bool pairs = false;     ///< documents come in pairs: TokenSource::Options::pairs
};

/// For one thread at a time. Keeps no random state: what comes next depends on the files, the options and the
/// position alone.
class BatchLoader {
 public:
  /// Fails with kInvalidArgument, naming the option or file.
  static base::Result<BatchLoader> create(const std::vector<MixtureSource>& sources,
                                          const BatchLoaderOptions& options);

  /// The next batch: T tokens. Only where conversations, which are not cut, do not fill it are there fewer.
  base::Status next(TrainBatch& batch);

  /// Up to T tokens of validation, in the order of the files, in windows that do not overlap; an empty batch
  /// after the last. Begins anew after that, and after restart_validation().
  base::Status next_validation(TrainBatch& batch);
  void restart_validation();

  /// Where the loader is, for a checkpoint. seek() goes there: the batches that follow are the same. Fails
  /// with kInvalidArgument if the position is of other files or options, naming what differs.
  base::Json position() const;
  base::Status seek(const base::Json& position);

 private:
  BatchLoader(std::vector<TokenSource> sources, std::vector<double> shares,
              const BatchLoaderOptions& options);
  std::size_t most_behind() const;
  base::Json identity() const;

  std::vector<TokenSource> sources_;
  std::vector<double> shares_;
  BatchLoaderOptions options_;
  std::size_t validated_ = 0;  ///< the source that validation is in
  TokenSource::Cursor cursor_;
};

}  // namespace tw::train
