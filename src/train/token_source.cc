#include "train/token_source.h"

#include <algorithm>
#include <cmath>

#include "train/permutation.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::Status;

/// From so many windows on, a document's first and last window are left out where they are not whole.
constexpr std::uint64_t kLongDocument = 16;

}  // namespace

TokenSource::TokenSource(std::shared_ptr<const TokenFile> file, const Options& options)
    : file_(std::move(file)), options_(options) {
  const auto all = static_cast<double>(file_->tokens());
  border_ = static_cast<std::uint64_t>(std::llround(all * (1 - options.validation)));
  while (first_validation_ < file_->documents() && file_->offset(first_validation_ + 1) <= border_)
    ++first_validation_;
  if (!options_.pairs) return;
  first_validation_ -= first_validation_ % 2;
  border_ = file_->offset(first_validation_);
}

base::Result<TokenSource> TokenSource::create(std::shared_ptr<const TokenFile> file, const Options& options) {
  if (options.pairs && (file->documents() % 2 != 0 || !file->has_mask()))
    return base::Error{Code::kCorrupt, "holds no pairs: delete it, and it is made anew", file->path()};
  TokenSource source(std::move(file), options);
  source.start_epoch();
  const std::string& path = source.file_->path();
  if (options.pairs && source.first_.back() == 0 && source.first_validation_ > 0) {
    return base::Error{Code::kInvalidArgument,
                       fmt::format("has no pair of answers that begin within {} tokens, the prompt's "
                                   "included: make \"sequence\" longer",
                                   options.sequence),
                       path};
  }
  if (source.first_.back() == 0) {
    return base::Error{
        Code::kInvalidArgument,
        fmt::format(
            "has too little text to train on: {} tokens, of which {} are for validation; give more text, or "
            "a smaller validation.share",
            source.file_->tokens(), source.file_->tokens() - source.border_),
        path};
  }
  TrainBatch batch;
  Cursor cursor = source.validation_begin();
  TW_ASSIGN_OR_RETURN(const bool any,
                      source.take_validation(cursor, (options.pairs ? 2 : 1) * options.sequence, batch));
  if (options.validation > 0 && !any) {
    return base::Error{
        Code::kInvalidArgument,
        "has too little text to keep some of it for validation: give more text, or validation.share 0", path};
  }
  return source;
}

/// Where the document ends for training; may be before it begins.
std::uint64_t TokenSource::train_end(std::uint64_t document) const {
  return std::min(file_->offset(document + 1), border_);
}

/// Tokens before the first whole window. `length`: of the document's tokens that have a target.
std::uint64_t TokenSource::phase(std::uint64_t document, std::uint64_t length) const {
  const auto sequence = static_cast<std::uint64_t>(options_.sequence);
  return length <= sequence ? 0 : mix(mix(options_.seed, position_.epoch), document) % sequence;
}

std::uint64_t TokenSource::windows_of(std::uint64_t document) const {
  if (options_.pairs) return document % 2 == 0 && document < first_validation_ && learnable(document) ? 1 : 0;
  const std::uint64_t begin = file_->offset(document), end = train_end(document);
  if (end < begin + 2) return 0;
  const std::uint64_t length = end - begin - 1, sequence = static_cast<std::uint64_t>(options_.sequence);
  const std::uint64_t skipped = phase(document, length);
  if (length >= kLongDocument * sequence) return (length - skipped) / sequence;
  return (skipped > 0 ? 1 : 0) + (length - skipped + sequence - 1) / sequence;
}

void TokenSource::start_epoch() {
  first_.assign(1, 0);
  first_.reserve(file_->documents() + 1);
  for (std::uint64_t d = 0; d < file_->documents(); ++d) first_.push_back(first_.back() + windows_of(d));
}

/// Of the pair that begins with this document: both answers have a token to learn.
bool TokenSource::learnable(std::uint64_t pair) const {
  for (const std::uint64_t document : {pair, pair + 1}) {
    const std::uint64_t begin = file_->offset(document),
                        end = std::min(file_->offset(document + 1),
                                       begin + static_cast<std::uint64_t>(options_.sequence) + 1);
    std::uint64_t at = begin + 1;
    while (at < end && !file_->learnt(at)) ++at;
    if (at >= end) return false;
  }
  return true;
}

/// Of a window by its place in the file.
std::uint64_t TokenSource::document_of(std::uint64_t window) const {
  const auto after = std::upper_bound(first_.begin(), first_.end(), window);
  return static_cast<std::uint64_t>(after - first_.begin()) - 1;
}

/// The place in the file of a window by its number in the epoch's order.
std::uint64_t TokenSource::shuffled(std::uint64_t number) const {
  return Permutation(first_.back(), mix(options_.seed + 1, position_.epoch))(number);
}

TokenSource::Window TokenSource::window(std::uint64_t number) const {
  const std::uint64_t shuffled = this->shuffled(number);
  const std::uint64_t document = document_of(shuffled);
  if (options_.pairs) return {file_->offset(document), file_->offset(document + 2)};
  const std::uint64_t begin = file_->offset(document), length = train_end(document) - begin - 1;
  const auto sequence = static_cast<std::uint64_t>(options_.sequence);
  const std::uint64_t skipped = phase(document, length);
  std::uint64_t index = shuffled - first_[document];
  if (length < kLongDocument * sequence && skipped > 0) {
    if (index == 0) return {begin, begin + skipped};
    --index;
  }
  const std::uint64_t at = skipped + index * sequence;
  return {begin + at, begin + std::min(at + sequence, length)};
}

Status TokenSource::append(std::uint64_t begin, std::uint64_t end, TrainBatch& batch) const {
  if (batch.offsets.empty()) batch.offsets.push_back(0);
  for (std::uint64_t i = begin; i <= end; ++i) {
    const std::uint32_t id = file_->token(i);
    if (id >= file_->vocabulary()) {
      return base::Error{
          Code::kCorrupt,
          fmt::format("token {} is {}, but the vocabulary has {}: delete the file, and it is made anew", i,
                      id, file_->vocabulary()),
          file_->path()};
    }
    if (i < end) batch.tokens.push_back(static_cast<std::int32_t>(id));
    if (i > begin) batch.targets.push_back(static_cast<std::int32_t>(id));
    if (i > begin) batch.weights.push_back(file_->learnt(i) ? 1.0f : 0.0f);
  }
  batch.offsets.push_back(static_cast<std::int32_t>(batch.tokens.size()));
  return Ok{};
}

/// The two documents from `first` on; false and nothing, if they do not fit.
base::Result<bool> TokenSource::append_pair(std::uint64_t first, std::int64_t room, TrainBatch& batch) const {
  const auto end_of = [&](std::uint64_t document) {
    return std::min(file_->offset(document + 1) - 1,
                    file_->offset(document) + static_cast<std::uint64_t>(options_.sequence));
  };
  const std::uint64_t begin = file_->offset(first), next = file_->offset(first + 1);
  const std::uint64_t length = end_of(first) - begin + end_of(first + 1) - next;
  if (length > static_cast<std::uint64_t>(room)) return false;
  TW_RETURN_IF_ERROR(append(begin, end_of(first), batch));
  TW_RETURN_IF_ERROR(append(next, end_of(first + 1), batch));
  return true;
}

base::Result<bool> TokenSource::take(std::int64_t room, TrainBatch& batch) {
  if (position_.window == first_.back()) {
    position_.window = 0;
    ++position_.epoch;
    start_epoch();
  }
  if (options_.pairs) {
    const std::int64_t before = batch.rows();
    TW_ASSIGN_OR_RETURN(const bool taken, append_pair(document_of(shuffled(position_.window)), room, batch));
    position_.window += taken ? 1 : 0;
    position_.tokens += static_cast<std::uint64_t>(batch.rows() - before);
    return taken;
  }
  const Window all = window(position_.window);
  const std::uint64_t begin = all.begin + position_.offset;
  const std::uint64_t length = std::min(all.end - begin, static_cast<std::uint64_t>(room));
  if (length == 0 || (file_->has_mask() && begin + length < all.end)) return false;
  TW_RETURN_IF_ERROR(append(begin, begin + length, batch));
  position_.tokens += length;
  position_.offset += length;
  if (begin + length == all.end) {
    position_.offset = 0;
    ++position_.window;
  }
  return true;
}

Status TokenSource::seek(const Position& position) {
  const Position before = position_;
  position_ = position;
  start_epoch();
  const bool inside = position.window < first_.back();
  if (inside ? position.offset < window(position.window).end - window(position.window).begin
             : position.window == first_.back() && position.offset == 0)
    return Ok{};
  position_ = before;
  start_epoch();
  return base::Error{Code::kCorrupt, "there is no such position in this token file", file_->path()};
}

base::Result<bool> TokenSource::take_validation(Cursor& cursor, std::int64_t room, TrainBatch& batch) const {
  while (options_.pairs && !done(cursor) && !learnable(cursor.document)) cursor.document += 2;
  if (options_.pairs && !done(cursor)) {
    TW_ASSIGN_OR_RETURN(const bool taken, append_pair(cursor.document, room, batch));
    cursor.document += taken ? 2 : 0;
    return taken;
  }
  while (!done(cursor) && cursor.at + 2 > file_->offset(cursor.document + 1)) {
    ++cursor.document;
    cursor.at = file_->offset(cursor.document);
  }
  if (done(cursor)) return false;
  const std::uint64_t end = std::min(cursor.at + static_cast<std::uint64_t>(options_.sequence),
                                     file_->offset(cursor.document + 1) - 1);
  if (end - cursor.at > static_cast<std::uint64_t>(room)) return false;
  TW_RETURN_IF_ERROR(append(cursor.at, end, batch));
  cursor.at = end;
  return true;
}

}  // namespace tw::train
