// For tests: a model and a cache of its own, without an engine.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/adapter.h"
#include "model/loaded_model.h"

namespace tw::model {

constexpr int kBlock = static_cast<int>(kernels::kKvBlock);

/// The cosine of the angle between two rows of logits.
inline double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

/// Runs batches of one or more sequences over a cache of its own.
class Harness {
 public:
  Harness(const std::string& path, const std::string& isa, int workers, int sequences = 1,
          const PackedOptions& packed = {}, bool int8_prompts = false)
      : team_(workers) {
    auto loaded = LoadedModel::load(
        path,
        {.isa = isa, .threads = workers, .int8_prompts = int8_prompts, .packed = packed, .progress = {}});
    TW_CHECK(loaded.ok(), "the test model loads");
    model_ = *loaded;
    const spec::ModelConfig& c = model_->config();
    const std::int64_t blocks_each = (c.context + kBlock - 1) / kBlock;
    blocks_.resize(sequences);
    // Interleaved on purpose: block b of sequence s is b * sequences + s, so that tables are not contiguous.
    for (int s = 0; s < sequences; ++s) {
      for (std::int64_t b = 0; b < blocks_each; ++b)
        blocks_[s].push_back(static_cast<std::int32_t>(b * sequences + s));
    }
    const std::size_t plane =
        static_cast<std::size_t>(blocks_each * sequences * kBlock * c.kv_width()) * sizeof(float);
    cache_ = tensor::Buffer::allocate(plane * 2 * c.layers, "test").value();
    view_.longest = c.context;
    for (std::int64_t layer = 0; layer < c.layers; ++layer) {
      std::byte* base = cache_.data() + layer * 2 * plane;
      view_.layers.push_back({base, base + plane, base::DType::kF32, kBlock, c.kv_heads, c.head_dim});
    }
    arena_ = tensor::Buffer::allocate(std::size_t{64} << 20, "test").value();
    between_ = tensor::Buffer::allocate(std::size_t{4} << 20, "test").value();
    for (int w = 0; w < workers; ++w) scratch_.push_back(tensor::Buffer::allocate(4 << 20, "test").value());
  }

  void add(int sequence, std::span<const std::int32_t> tokens, std::int64_t past, bool all_rows = false,
           bool generated = false, const Adapter* adapter = nullptr) {
    const std::int64_t first = batch_.rows();
    batch_.add(tokens, past, blocks_[sequence].data(), generated,
               adapter == nullptr ? nullptr : adapter->linears());
    for (std::int64_t row = all_rows ? first : batch_.rows() - 1; row < batch_.rows(); ++row)
      batch_.want(row);
  }

  /// Logits of the wanted rows, then the batch is empty again. So many layers in a call.
  std::vector<std::vector<float>> run(std::int64_t layers = INT64_MAX) {
    std::int64_t begin = 0;
    for (; model_->config().layers - begin > layers; begin += layers) run_layers({begin, begin + layers, {}});
    return run_layers({begin, INT64_MAX, {}});
  }

  const LoadedModel& model() const { return *model_; }

 private:
  std::vector<std::vector<float>> run_layers(LayerRange range) {
    range.rows = {base::DType::kF32, {batch_.rows(), model_->config().width}, between_.data()};
    std::vector<std::vector<float>> rows(batch_.output_rows().size());
    team_.run([&](int worker) {
      ops::Exec ex(model_->table(), team_.barrier(), worker, team_.size(),
                   tensor::Arena(arena_.data(), arena_.size()), scratch_[worker].data(),
                   scratch_[worker].size());
      const ops::Tensor hidden = model_->transformer().forward(ex, batch_, view_, range);
      if (hidden.shape.rank() == 0) return;
      const ops::Tensor logits = model_->transformer().logits(ex, hidden);
      ex.each(static_cast<std::int64_t>(rows.size()), [&](std::int64_t r) {
        const float* row = logits.f32() + r * logits.row_stride();
        rows[r].assign(row, row + logits.row_stride());
      });
    });
    if (range.end >= model_->config().layers) batch_.clear();
    return rows;
  }

  base::Team team_;
  std::shared_ptr<const LoadedModel> model_;
  std::vector<std::vector<std::int32_t>> blocks_;
  tensor::Buffer cache_, arena_, between_;
  KvView view_;
  std::vector<tensor::Buffer> scratch_;
  Batch batch_;
};

inline std::int32_t argmax(const std::vector<float>& row) {
  return static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

}  // namespace tw::model
