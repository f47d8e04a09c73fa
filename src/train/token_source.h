// One token file as a stream of pieces of documents in shuffled order, epoch after epoch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/json.h"
#include "train/token_file.h"
#include "train/train_batch.h"

namespace tw::train {

/// The end of the file is kept for validation, the rest is cut into windows of at most `sequence` tokens. A
/// document that fits is one window. Longer ones are cut anew each epoch, from another first place; of those
/// many times longer only whole windows are used, so that what is left over differs from epoch to epoch.
/// All that it will give depends on (file, options, position) alone.
class TokenSource {
 public:
  struct Options {
    std::int64_t sequence = 0;
    std::uint64_t seed = 0;
    double validation = 0;  ///< share of the tokens
    /// Documents 2i and 2i + 1 are a pair, and such a pair is a window: both come together, the first
    /// `sequence` tokens of each. A pair of which that leaves no token to learn is passed over.
    bool pairs = false;
  };
  struct Position {
    std::uint64_t epoch = 0;
    std::uint64_t window = 0;  ///< number in the epoch's order
    std::uint64_t offset = 0;  ///< tokens of it that were taken
    std::uint64_t tokens = 0;  ///< taken in all
  };
  /// Where validation has got to.
  struct Cursor {
    std::uint64_t document = 0, at = 0;
  };

  /// Fails with kInvalidArgument if there is nothing to train on, or nothing to validate on.
  static base::Result<TokenSource> create(std::shared_ptr<const TokenFile> file, const Options& options);

  /// Appends what is left of the current window, at most `room` tokens of it. A window of a file with a mask
  /// is not cut: false and nothing, if it does not fit. Errors name a token outside of the vocabulary.
  base::Result<bool> take(std::int64_t room, TrainBatch& batch);
  const Position& position() const { return position_; }
  /// REQUIRES: a position that this source (same file, same options) has had.
  base::Status seek(const Position& position);

  /// The same for validation: windows in the order of the file, none cut. False: it does not fit, or there is
  /// no more (then done() is true).
  base::Result<bool> take_validation(Cursor& cursor, std::int64_t room, TrainBatch& batch) const;
  Cursor validation_begin() const { return {first_validation_, border_}; }
  bool done(const Cursor& cursor) const { return cursor.document >= file_->documents(); }

  const TokenFile& file() const { return *file_; }

 private:
  struct Window {
    std::uint64_t begin = 0, end = 0;  ///< token `end` is the last one's target
  };
  TokenSource(std::shared_ptr<const TokenFile> file, const Options& options);
  std::uint64_t train_end(std::uint64_t document) const;
  std::uint64_t phase(std::uint64_t document, std::uint64_t length) const;
  std::uint64_t windows_of(std::uint64_t document) const;
  std::uint64_t shuffled(std::uint64_t number) const;
  std::uint64_t document_of(std::uint64_t window) const;
  bool learnable(std::uint64_t pair) const;
  base::Result<bool> append_pair(std::uint64_t first, std::int64_t room, TrainBatch& batch) const;
  void start_epoch();
  Window window(std::uint64_t number) const;
  base::Status append(std::uint64_t begin, std::uint64_t end, TrainBatch& batch) const;

  std::shared_ptr<const TokenFile> file_;
  Options options_;
  std::uint64_t border_ = 0;            ///< the first token of validation
  std::uint64_t first_validation_ = 0;  ///< the document that holds it
  Position position_;
  std::vector<std::uint64_t> first_;  ///< by document: its first window in the epoch; and how many in all
};

}  // namespace tw::train
