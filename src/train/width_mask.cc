#include "train/width_mask.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "train/soft_top.h"

namespace tw::train {
namespace {

/// Masks are all but hard at the end.
constexpr double kWarm = 1, kCold = 0.02;

}  // namespace

void WidthMask::declare(model::ParamStore& store, const spec::ModelConfig& config) {
  for (std::int64_t i = 0; i < config.layers; ++i)
    store.declare("model.layers." + std::to_string(i) + ".mlp.mask", {config.ffn_width}, model::Use::kVector);
}

WidthMask::WidthMask(model::Trainable& params, const PruningOptions& options)
    : params_(params), options_(options) {
  std::map<std::string, std::size_t> by_name;
  const auto& all = params.store().params();
  for (std::size_t i = 0; i < all.size(); ++i) by_name[all[i].name] = i;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!is_mask(all[i].name)) continue;
    const std::string prefix = all[i].name.substr(0, all[i].name.size() - std::string("mask").size());
    Layer layer{by_name.at(prefix + "gate_proj.weight"),
                by_name.at(prefix + "up_proj.weight"),
                by_name.at(prefix + "down_proj.weight"),
                i,
                0,
                all[i].shape[0],
                {},
                std::vector<float>(all[i].shape[0], 1)};
    layer.outputs = all[layer.down].shape[0];
    layer.weights.resize(layer.outputs * layer.units);
    layers_.push_back(std::move(layer));
  }
  set_done(0);
}

std::size_t WidthMask::bytes_for(const spec::ModelConfig& config) {
  return static_cast<std::size_t>(config.layers * config.ffn_width * (config.width + 1)) * sizeof(float);
}

std::size_t WidthMask::bytes() const {
  std::size_t floats = 0;
  for (const Layer& layer : layers_) floats += layer.weights.size() + layer.mask.size();
  return floats * sizeof(float);
}

void WidthMask::set_done(double done) {
  const auto all = static_cast<double>(layers_[0].units), left = static_cast<double>(options_.width);
  const double fallen = options_.falling > 0 ? std::min(1.0, done / options_.falling) : 1;
  units_ = all - (all - left) * fallen;
  const double hardened =
      options_.falling < 1 ? std::clamp((done - options_.falling) / (1 - options_.falling), 0.0, 1.0) : 0;
  temperature_ = kWarm * std::pow(kCold / kWarm, hardened);
}

void WidthMask::fold(ops::Exec& ex) {
  ex.each(std::ssize(layers_), [&](std::int64_t l) {
    Layer& layer = layers_[l];
    std::vector<float> scores(layer.units);
    std::transform(params_.master(layer.scores).begin(), params_.master(layer.scores).end(), scores.begin(),
                   [&](float x) { return static_cast<float>(options_.speed) * x; });
    soft_top(scores, units_, temperature_, layer.mask);
    const std::span<float> down = params_.master(layer.down);
    std::copy(down.begin(), down.end(), layer.weights.begin());
    for (std::size_t at = 0; at < down.size(); ++at) down[at] *= layer.mask[at % layer.units];
  });
  ex.barrier();
}

void WidthMask::unfold(ops::Exec& ex) {
  ex.each(std::ssize(layers_), [&](std::int64_t l) {
    std::copy(layers_[l].weights.begin(), layers_[l].weights.end(), params_.master(layers_[l].down).begin());
  });
  ex.barrier();
}

void WidthMask::gradients(ops::Exec& ex) {
  ex.each(std::ssize(layers_), [&](std::int64_t l) {
    const Layer& layer = layers_[l];
    const std::span<float> d_down = params_.gradient(layer.down);
    std::vector<double> d_mask(layer.units), d_scores(layer.units);
    for (std::size_t at = 0; at < d_down.size(); ++at) {
      const std::size_t unit = at % layer.units;
      d_mask[unit] += static_cast<double>(d_down[at]) * static_cast<double>(layer.weights[at]);
      d_down[at] *= layer.mask[unit];
    }
    soft_top_gradient(layer.mask, d_mask, temperature_, d_scores);
    std::transform(d_scores.begin(), d_scores.end(), params_.gradient(layer.scores).begin(),
                   [&](double d) { return static_cast<float>(options_.speed * d); });
  });
  ex.barrier();
}

const WidthMask::Layer* WidthMask::layer_with(std::size_t i) const {
  const auto found = std::find_if(layers_.begin(), layers_.end(), [&](const Layer& layer) {
    return layer.gate == i || layer.up == i || layer.down == i;
  });
  return found == layers_.end() ? nullptr : &*found;
}

const float* WidthMask::numbers(std::size_t i) const {
  const Layer* layer = layer_with(i);
  return layer != nullptr && layer->down == i ? layer->weights.data() : params_.master(i).data();
}

std::vector<io::TensorEntry> WidthMask::pruned(std::vector<std::vector<float>>& memory) const {
  std::vector<io::TensorEntry> entries;
  const auto& all = params_.store().params();
  memory.clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (is_mask(all[i].name)) continue;
    const std::span<const float> from = params_.master(i);
    std::vector<std::int64_t> shape = all[i].shape;
    std::vector<float>& to = memory.emplace_back();
    const Layer* layer = layer_with(i);
    if (layer == nullptr) to.assign(from.begin(), from.end());
    if (layer != nullptr) {
      std::vector<std::int64_t> kept(layer->units);
      std::iota(kept.begin(), kept.end(), 0);
      std::sort(kept.begin(), kept.end(), [&](auto a, auto b) {
        return layer->mask[a] != layer->mask[b] ? layer->mask[a] > layer->mask[b] : a < b;
      });
      kept.resize(options_.width);
      std::sort(kept.begin(), kept.end());
      const std::int64_t rows = shape[0], width = shape[1];
      const bool columns = i == layer->down;  // masked as they are
      shape[columns ? 1 : 0] = options_.width;
      for (std::int64_t row = 0; row < (columns ? rows : options_.width); ++row) {
        const float* first = from.data() + (columns ? row : kept[row]) * width;
        if (!columns) to.insert(to.end(), first, first + width);
        for (std::size_t unit = 0; columns && unit < kept.size(); ++unit) to.push_back(first[kept[unit]]);
      }
    }
    entries.push_back({.name = all[i].name,
                       .dtype = base::DType::kF32,
                       .shape = shape,
                       .data = reinterpret_cast<const std::byte*>(to.data()),
                       .bytes = to.size() * sizeof(float)});
  }
  return entries;
}

}  // namespace tw::train
