// A batch of documents as a Transformer takes it.
#pragma once

#include <cstdint>
#include <vector>

#include "model/batch.h"
#include "spec/model_config.h"
#include "tensor/memory.h"
#include "train/train_batch.h"

namespace tw::train {

/// Of keys and values in steps of `type` that learn, for Pass. They are rounded where the gradients' kernels
/// round keys in the same way, since these take the sums of weights from the forward
/// (AttentionBackwardArgs::log_sums); the kernels that leave weights out do not.
base::DType learning_cache_type(const kernels::Table& table, base::DType type, bool drops_weights);

/// Owns what a model::Batch points to, and keys and values. One cache serves all layers: once a layer's
/// attention is done, its keys and values are not needed there.
class Pass {
 public:
  /// Of batches of at most `rows` tokens; `type` is that of keys and values. `config` must outlive it.
  Pass(const spec::ModelConfig& config, base::DType type, std::int64_t rows)
      : config_(&config), type_(type), rows_(rows) {}

  /// All rows are wanted. `adapter` as in Batch::add. Fails with kResourceExhausted. Invalidates pointers
  /// into what was loaded before.
  base::Status load(const TrainBatch& from, const ops::LowRank* adapter);
  /// The batch that takes most memory: one document of all rows.
  base::Status load_worst(const ops::LowRank* adapter);

  const model::Batch& batch() const { return batch_; }
  const model::KvView& kv() const { return kv_; }
  std::size_t cache_bytes() const { return cache_.size(); }

 private:
  const spec::ModelConfig* config_;
  base::DType type_;
  std::int64_t rows_;
  model::Batch batch_;
  model::KvView kv_;
  tensor::Buffer cache_;
  std::vector<std::int32_t> blocks_;
};

}  // namespace tw::train
