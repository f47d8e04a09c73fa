#include "model/param_store.h"

namespace tw::model {

std::int64_t Param::elements() const {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) n *= extent;
  return n;
}

Param& ParamStore::declare(std::string name, std::vector<std::int64_t> shape, Use use, Shard shard) {
  TW_CHECK(names_.insert(name).second, "a parameter is declared twice");
  Param& param = params_.emplace_back();
  param.name = std::move(name);
  param.shape = std::move(shape);
  param.use = use;
  param.shard = shard;
  param.decay = use != Use::kVector;
  param.start = use == Use::kVector && !param.name.ends_with(".bias") ? 1 : 0;
  param.spread = use == Use::kVector ? 0 : 0.02;
  return param;
}

Param& ParamStore::declare_linear(std::string name, std::vector<std::int64_t> shape, Shard shard) {
  Param& param = declare(std::move(name), std::move(shape), Use::kMatrix, shard);
  param.linear = linears_++;
  return param;
}

std::int64_t ParamStore::total_elements() const {
  std::int64_t n = 0;
  for (const Param& param : params_) n += param.elements();
  return n;
}

}  // namespace tw::model
