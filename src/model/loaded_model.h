// A model ready to run: its files, its parameters in the kernels' layout, its Transformer and its card.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/table.h"
#include "model/model_card.h"
#include "model/model_files.h"
#include "model/packed_weights.h"
#include "model/transformer.h"
#include "tensor/memory.h"

namespace tw::model {

struct LoadOptions {
  std::string isa;                            ///< empty: the best kernel set of this machine
  int threads = 1;                            ///< for packing; 0: what the machine and the cgroup allow
  std::vector<int> cpus = {};                 ///< processors they keep to; empty: all of this process
  bool int8_prompts = false;                  ///< kernels::Table::int8_prompts
  PackedOptions packed = {};                  ///< whether packed weights are kept in a file
  std::function<void(double done)> progress;  ///< 0 to 1, called from the loading thread; may be empty
};

/// Immutable, thread-safe, shared by engine and server.
class LoadedModel {
 public:
  /// Errors name the file and the tensor or key.
  static base::Result<std::shared_ptr<const LoadedModel>> load(const std::string& path,
                                                               const LoadOptions& options);

  const ModelCard& card() const { return card_; }
  const spec::ModelConfig& config() const { return card_.config; }
  const Transformer& transformer() const { return *transformer_; }
  const kernels::Table& table() const { return table_; }
  const ParamStore& params() const { return params_; }

  /// Bytes of weights, as in the file, that computing one token needs: every matrix once, of the experts
  /// those that it takes, no embedding table.
  std::size_t weight_bytes_per_token() const;
  /// Bytes of all weights as they are used: `own` are in this process's memory, `mapped` in files' pages.
  struct WeightBytes {
    std::size_t own = 0, mapped = 0;
  };
  WeightBytes weight_bytes() const;
  /// Weights in the matrices a token is multiplied with; two FLOPs each.
  std::int64_t matmul_weights() const;
  /// Those of the layers alone: what a prompt's tokens are multiplied with, of which only the last meets the
  /// head.
  std::int64_t layer_weights() const;

 private:
  LoadedModel() = default;
  /// Which share of the tokens a parameter meets.
  double share_of(const Param& param) const;
  base::Status bind_all(const LoadOptions& options);
  const kernels::MatmulKernel& kernel_for(const io::TensorEntry& entry) const {
    return *table_.matmul[static_cast<std::size_t>(entry.dtype)];
  }
  std::span<std::byte> stored_panels(const Param& param, const io::TensorEntry& entry) const;
  base::Status allocate_panels(const std::vector<const io::TensorEntry*>& entries, bool copy);
  void bind_matrix(Param& param, const io::TensorEntry& entry, base::Team& team, bool copy,
                   std::size_t& used);

  std::unique_ptr<ModelFiles> files_;
  ModelCard card_;
  kernels::Table table_;
  tensor::Buffer panels_;  // what was packed here
  ParamStore params_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<PackedWeights> packed_;  // last: its thread uses all above
};

}  // namespace tw::model
