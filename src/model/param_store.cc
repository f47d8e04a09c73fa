#include "model/param_store.h"

#include <algorithm>

namespace tw::model {

std::int64_t Param::elements() const {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) n *= extent;
  return n;
}

Param& ParamStore::declare(std::string name, std::vector<std::int64_t> shape, Use use, Shard shard) {
  TW_CHECK(std::none_of(params_.begin(), params_.end(), [&](const Param& p) { return p.name == name; }),
           "a parameter is declared twice");
  Param& param = params_.emplace_back();
  param.name = std::move(name);
  param.shape = std::move(shape);
  param.use = use;
  param.shard = shard;
  param.decay = use != Use::kVector;
  return param;
}

std::int64_t ParamStore::total_elements() const {
  std::int64_t n = 0;
  for (const Param& param : params_) n += param.elements();
  return n;
}

}  // namespace tw::model
