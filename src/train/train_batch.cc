#include "train/train_batch.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace tw::train {
namespace {

using base::Code;

base::Status check_ids(const char* what, const std::vector<std::int32_t>& ids, std::int64_t vocab) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab) {
      return base::error(Code::kInvalidArgument, "{} {} of a batch is {}, but the vocabulary has {} tokens",
                         what, i, ids[i], vocab);
    }
  }
  return base::Ok{};
}

}  // namespace

void TrainBatch::add_document(const std::vector<std::int32_t>& ids) {
  TW_CHECK(ids.size() >= 2, "a document to learn from has at least two tokens");
  if (offsets.empty()) offsets.push_back(0);
  tokens.insert(tokens.end(), ids.begin(), ids.end() - 1);
  targets.insert(targets.end(), ids.begin() + 1, ids.end());
  weights.insert(weights.end(), ids.size() - 1, 1.0F);
  offsets.push_back(static_cast<std::int32_t>(tokens.size()));
}

void TrainBatch::clear() {
  tokens.clear();
  offsets.clear();
  targets.clear();
  weights.clear();
}

base::Status TrainBatch::validate(std::int64_t vocab) const {
  if (targets.size() != tokens.size() || weights.size() != tokens.size()) {
    return base::error(Code::kInvalidArgument, "a batch has {} tokens, but {} targets and {} weights",
                       tokens.size(), targets.size(), weights.size());
  }
  const bool rises =
      std::adjacent_find(offsets.begin(), offsets.end(), std::greater_equal<>()) == offsets.end();
  if (tokens.empty() || offsets.size() < 2 || offsets.front() != 0 || offsets.back() != rows() || !rises) {
    return base::error(Code::kInvalidArgument,
                       "a batch's documents must begin at 0, be not empty, and end at its {} tokens",
                       tokens.size());
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!(weights[i] >= 0) || !std::isfinite(weights[i]))
      return base::error(Code::kInvalidArgument, "weight {} of a batch is {}: it must be 0 or more", i,
                         weights[i]);
  }
  TW_RETURN_IF_ERROR(check_ids("token", tokens, vocab));
  return check_ids("target", targets, vocab);
}

}  // namespace tw::train
