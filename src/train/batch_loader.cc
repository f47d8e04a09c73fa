#include "train/batch_loader.h"

#include <cmath>

#include "train/permutation.h"

namespace tw::train {
namespace {

using base::Code;
using base::Json;
using base::Ok;
using base::Status;

/// Positions and sizes of a batch are 32-bit.
constexpr std::int64_t kMaxBatchTokens = std::int64_t{1} << 30;

Status check(const std::vector<MixtureSource>& sources, const BatchLoaderOptions& o) {
  const auto wrong = [](const char* what) { return base::error(Code::kInvalidArgument, "{}", what); };
  if (sources.empty()) return wrong("there is no data to train on");
  if (o.batch_tokens < 1 || o.batch_tokens > kMaxBatchTokens) return wrong("a batch has 1 to 2^30 tokens");
  if (o.sequence < 1 || o.sequence > o.batch_tokens)
    return wrong("a sequence has at least one token, and no more than a batch");
  if (o.pairs && o.batch_tokens < 2 * o.sequence)
    return wrong("a batch has room for a pair of the longest sequences");
  if (!(o.validation >= 0 && o.validation < 1)) return wrong("the share for validation is 0 to below 1");
  for (const MixtureSource& source : sources) {
    if (!(source.weight > 0 && std::isfinite(source.weight)))
      return base::Error{Code::kInvalidArgument, "has a weight that is not above 0", source.file->path()};
    if (source.file->vocabulary() != sources[0].file->vocabulary() ||
        source.file->tokenizer_sha256() != sources[0].file->tokenizer_sha256())
      return base::Error{Code::kInvalidArgument, "was made with another tokenizer than the first",
                         source.file->path()};
  }
  return Ok{};
}

base::Result<std::uint64_t> number(const Json& object, const char* key) {
  const auto it = object.is_object() ? object.find(key) : object.end();
  if (object.is_object() && it != object.end() && it->is_number_unsigned()) return it->get<std::uint64_t>();
  return base::error(Code::kCorrupt, "the data's position has no number \"{}\"", key);
}

}  // namespace

BatchLoader::BatchLoader(std::vector<TokenSource> sources, std::vector<double> shares,
                         const BatchLoaderOptions& options)
    : sources_(std::move(sources)), shares_(std::move(shares)), options_(options) {
  restart_validation();
}

base::Result<BatchLoader> BatchLoader::create(const std::vector<MixtureSource>& sources,
                                              const BatchLoaderOptions& options) {
  TW_RETURN_IF_ERROR(check(sources, options));
  std::vector<TokenSource> streams;
  std::vector<double> shares;
  double sum = 0;
  for (const MixtureSource& source : sources) sum += source.weight;
  for (const MixtureSource& source : sources) {
    const TokenSource::Options own{.sequence = options.sequence,
                                   .seed = mix(options.seed, streams.size()),
                                   .validation = options.validation,
                                   .pairs = options.pairs};
    auto stream = TokenSource::create(source.file, own);
    if (!stream.ok()) {
      base::Error why = stream.error();
      if (why.code == base::Code::kInvalidArgument && !source.text.empty()) why.where = source.text;
      return why;
    }
    streams.push_back(std::move(stream).value());
    shares.push_back(source.weight / sum);
  }
  return BatchLoader(std::move(streams), std::move(shares), options);
}

/// The source that has given the least of its share: the mixture is right after every window, not only on
/// average.
std::size_t BatchLoader::most_behind() const {
  double all = 1;
  for (const TokenSource& source : sources_) all += static_cast<double>(source.position().tokens);
  std::size_t best = 0;
  double most = -1e300;
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    const double behind = shares_[s] * all - static_cast<double>(sources_[s].position().tokens);
    if (behind > most) {
      most = behind;
      best = s;
    }
  }
  return best;
}

Status BatchLoader::next(TrainBatch& batch) {
  batch.clear();
  while (batch.rows() < options_.batch_tokens) {
    const std::int64_t room = options_.batch_tokens - batch.rows();
    TW_ASSIGN_OR_RETURN(const bool taken, sources_[most_behind()].take(room, batch));
    if (!taken) break;
  }
  return Ok{};
}

void BatchLoader::restart_validation() {
  validated_ = 0;
  cursor_ = sources_[0].validation_begin();
}

Status BatchLoader::next_validation(TrainBatch& batch) {
  batch.clear();
  while (validated_ < sources_.size()) {
    const TokenSource& source = sources_[validated_];
    TW_ASSIGN_OR_RETURN(const bool taken,
                        source.take_validation(cursor_, options_.batch_tokens - batch.rows(), batch));
    if (taken) continue;
    if (!source.done(cursor_)) return Ok{};
    if (++validated_ < sources_.size()) cursor_ = sources_[validated_].validation_begin();
  }
  if (batch.rows() == 0) restart_validation();
  return Ok{};
}

/// What a position is good for.
Json BatchLoader::identity() const {
  Json files = Json::array();
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    const TokenFile& file = sources_[s].file();
    files.push_back({{"tokens", file.tokens()}, {"documents", file.documents()}, {"share", shares_[s]}});
  }
  return {{"tokenizer_sha256", sources_[0].file().tokenizer_sha256()},
          {"files", files},
          {"sequence", options_.sequence},
          {"batch_tokens", options_.batch_tokens},
          {"seed", options_.seed},
          {"validation", options_.validation}};
}

Json BatchLoader::position() const {
  Json list = Json::array();
  for (const TokenSource& source : sources_) {
    const TokenSource::Position& p = source.position();
    list.push_back({{"epoch", p.epoch}, {"window", p.window}, {"offset", p.offset}, {"tokens", p.tokens}});
  }
  return {{"of", identity()}, {"sources", list}};
}

Status BatchLoader::seek(const Json& position) {
  const Json mine = identity();
  const Json of = position.is_object() ? position.value("of", Json()) : Json();
  for (const auto& [key, value] : mine.items()) {
    const Json theirs = of.is_object() ? of.value(key, Json()) : Json();
    if (theirs == value) continue;
    return base::error(Code::kInvalidArgument,
                       "the checkpoint was made with other data: \"{}\" was {} and is {}", key,
                       base::dump_json(theirs), base::dump_json(value));
  }
  const Json list = position.value("sources", Json());
  if (!list.is_array() || list.size() != sources_.size())
    return base::error(Code::kCorrupt, "the data's position has no list of {} \"sources\"", sources_.size());
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    TokenSource::Position p;
    TW_ASSIGN_OR_RETURN(p.epoch, number(list[s], "epoch"));
    TW_ASSIGN_OR_RETURN(p.window, number(list[s], "window"));
    TW_ASSIGN_OR_RETURN(p.offset, number(list[s], "offset"));
    TW_ASSIGN_OR_RETURN(p.tokens, number(list[s], "tokens"));
    TW_RETURN_IF_ERROR(sources_[s].seek(p));
  }
  return Ok{};
}

}  // namespace tw::train
