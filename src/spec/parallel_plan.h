// How a training run is divided over accelerators: found and priced by `tokenworks plan`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "spec/model_config.h"

namespace tw::spec {

/// What the backward pass computes again instead of keeping (arXiv 2205.05198).
enum class Recompute { kNone, kSelective, kFull };

/// What lives in the hosts' memory and is updated by their processors (arXiv 2101.06840, 2104.07857).
enum class Offload {
  kNone,
  kOptimizer,   ///< the optimizer's state, and gradients once replicas share them (zero 2)
  kParameters,  ///< and parameters, which are fetched layer by layer (zero 3)
};

struct ParallelPlan {
  int data = 1;         ///< replicas; with zero they share their state
  int tensor = 1;       ///< ranks that share each matrix
  int pipeline = 1;     ///< stages
  int context = 1;      ///< ranks that share a sequence
  int expert = 1;       ///< ranks that share the experts; divides data * context * tensor
  int micro_batch = 1;  ///< sequences a rank takes at once
  int interleave = 1;   ///< pieces of the model a stage holds
  int zero = 0;         ///< 1: optimizer, 2: and gradients, 3: and parameters are shared by the replicas
  bool zero_bubble =
      false;  ///< stages compute weight gradients while they would wait (ZB-H1, arXiv 2401.10241)
  /// Of the replicas, so many share what zero says, and groups of them hold copies (HSDP); 0: all share it.
  int shard = 0;
  bool sequence = false;  ///< rows between tensor-parallel regions are divided too
  Recompute recompute = Recompute::kNone;
  Offload offload = Offload::kNone;

  /// REQUIRES: validate() is ok.
  std::int64_t ranks() const { return std::int64_t{data} * tensor * pipeline * context; }
  /// Ranks that hold the same parameters when nothing is shared, and those of them that share.
  std::int64_t replicas() const { return std::int64_t{data} * context; }
  std::int64_t sharers() const { return shard > 0 ? shard : replicas(); }
  /// Micro-batches of one step. REQUIRES: validate() is ok for this batch.
  std::int64_t micro_batches(std::int64_t global_batch) const { return global_batch / data / micro_batch; }

  /// Whether each size is in its range; the error names the one that is not.
  base::Status check_sizes() const;
  /// Whether the plan divides the model and the batch and fills `ranks`. The error names what does not divide
  /// and the nearest value that does.
  base::Status validate(const ModelConfig& model, std::int64_t ranks, std::int64_t global_batch) const;
  /// "dp 8 tp 4 pp 2 ..." with what is not 1.
  std::string text() const;

  /// Calls v(name, reference to the field, help) for each field; recompute and offload are names in files.
  template <typename Self, typename Visitor>
  static void visit(Self& p, Visitor&& v) {
    v("dp", p.data, "replicas");
    v("tp", p.tensor, "ranks that share each matrix");
    v("pp", p.pipeline, "pipeline stages");
    v("cp", p.context, "ranks that share a sequence");
    v("ep", p.expert, "ranks that share the experts");
    v("micro-batch", p.micro_batch, "sequences that a rank takes at once");
    v("interleave", p.interleave, "pieces of the model that a stage holds");
    v("zero-bubble", p.zero_bubble, "stages compute weight gradients while they would wait (ZB-H1)");
    v("zero", p.zero, "1: optimizer, 2: and gradients, 3: and parameters are shared by the replicas");
    v("shard", p.shard,
      "ranks that share state under zero, while groups of them hold copies (HSDP; default: all dp x cp)");
    v("sp", p.sequence, "rows between tensor-parallel regions are divided too");
    v("recompute", p.recompute, "what backward computes again: none, selective or full");
    v("offload", p.offload, "what lives in the hosts' memory: none, optimizer or parameters (and optimizer)");
  }
};

const char* recompute_name(Recompute recompute);
const char* offload_name(Offload offload);
/// The error names the value and what there is.
base::Result<Recompute> parse_recompute(std::string_view name);

base::Status set_field(Recompute& field, const base::Json& value);
base::Status set_field(Offload& field, const base::Json& value);

/// A plan as a file, which `tokenworks plan search --save` writes and `plan estimate --plan` reads.
std::string plan_file(const ParallelPlan& plan);
/// Sets the fields that the file names; errors tell the line.
base::Status read_plan(std::string_view text, const std::string& where, ParallelPlan& plan);

}  // namespace tw::spec
