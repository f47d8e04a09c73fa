#include "train/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "train/optimizer_rules.h"

namespace tw::train {
namespace {

std::int64_t chunks(std::int64_t elements) {
  return (elements + kSquareChunk - 1) / kSquareChunk;
}
std::int64_t rounded(std::int64_t elements) {
  return (elements + 15) / 16 * 16;
}

std::int64_t elements_of(const StateTensor& tensor) {
  std::int64_t n = 1;
  for (const std::int64_t extent : tensor.shape) n *= extent;
  return n;
}

std::vector<StateTensor> two_moments(const model::Param& param) {
  return {{"moments1", param.shape}, {"moments2", param.shape}};
}

std::vector<StateTensor> momentum_or_moments(const model::Param& param) {
  if (is_hidden(param)) return {{"momentum", param.shape}};
  return two_moments(param);
}

std::vector<StateTensor> rows_and_columns(const model::Param& param) {
  if (param.shape.size() < 2) return {{"squares", param.shape}};
  return {{"rows", {param.shape[0]}}, {"columns", {param.shape[1]}}};
}

std::vector<StateTensor> squares_and_updates(const model::Param& param) {
  return {{"squares", param.shape}, {"updates", param.shape}};
}

constexpr std::array kRules = {
    OptimizerRule{"adamw", 1e-8, two_moments, adamw_update},
    OptimizerRule{"muon", 1e-8, momentum_or_moments, muon_update},
    OptimizerRule{"adafactor", 0x1p-23, rows_and_columns, adafactor_update},
    OptimizerRule{"rmsprop", 1e-30, squares_and_updates, rmsprop_update},
};

}  // namespace

bool is_hidden(const model::Param& param) {
  return param.use == model::Use::kMatrix && param.name != "lm_head.weight";
}

const OptimizerRule* find_rule(const std::string& name) {
  const auto* found = std::find_if(kRules.begin(), kRules.end(),
                                   [&](const OptimizerRule& rule) { return name == rule.name; });
  return found == kRules.end() ? nullptr : found;
}

base::Result<Optimizer> Optimizer::make(const model::Trainable& params, const OptimizerOptions& options) {
  Optimizer made;
  made.options_ = options;
  made.rule_ = find_rule(options.kind);
  if (made.rule_ == nullptr)
    return base::error(base::Code::kInvalidArgument, "there is no optimizer \"{}\"", options.kind);
  if (options.epsilon == 0) made.options_.epsilon = made.rule_->epsilon;
  std::int64_t elements = 0, most = 0;
  for (const model::Param& param : params.store().params()) {
    made.tensors_.push_back(made.rule_->state(param));
    for (const StateTensor& tensor : made.tensors_.back()) elements += rounded(elements_of(tensor));
    most = std::max(most, param.elements());
  }
  TW_ASSIGN_OR_RETURN(made.memory_,
                      tensor::Buffer::allocate(elements * sizeof(float), "the optimizer's state"));
  auto* at = reinterpret_cast<float*>(made.memory_.data());
  for (const auto& tensors : made.tensors_) {
    made.state_.emplace_back();
    for (const StateTensor& tensor : tensors) {
      made.state_.back().emplace_back(at, elements_of(tensor));
      at += rounded(elements_of(tensor));
    }
  }
  made.sums_.resize(chunks(most));
  return made;
}

void Optimizer::run(ops::Exec& ex, model::Trainable& params, std::int64_t number, double rate,
                    double gradient_scale) {
  const OptimizerStep step{ex, options_, number, rate, static_cast<float>(gradient_scale), sums_, params};
  OptimizerStep hidden = step;
  hidden.rate *= options_.hidden_rate;
  const auto& all = params.store().params();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const tensor::Arena::Scope scope(ex.arena());
    const double left = all[i].decay ? 1 - rate * options_.decay : 1;
    rule_->update(is_hidden(all[i]) ? hidden : step,
                  {all[i], params.master(i), params.gradient(i), state_[i], static_cast<float>(left)});
  }
  if (!ex.tracing()) ex.barrier();
}

void Optimizer::reset() {
  std::fill(memory_.data(), memory_.data() + memory_.size(), std::byte{0});
}

std::vector<Optimizer::Kept> Optimizer::kept() const {
  std::vector<Kept> all;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    for (std::size_t t = 0; t < tensors_[i].size(); ++t) all.push_back({i, tensors_[i][t], state_[i][t]});
  }
  return all;
}

std::int64_t square_sum_memory(std::span<const float> numbers) {
  return chunks(std::ssize(numbers));
}

double square_sum(ops::Exec& ex, std::span<const float> numbers, std::span<double> memory) {
  const std::int64_t parts = square_sum_memory(numbers);
  ex.each(parts, [&](std::int64_t i) {
    memory[i] = ex.table().train.sum_squares(numbers.data() + i * kSquareChunk,
                                             std::min(kSquareChunk, std::ssize(numbers) - i * kSquareChunk));
  });
  ex.barrier();
  double sum = 0;
  for (const double part : memory.first(parts)) sum += part;
  return sum;
}

}  // namespace tw::train
