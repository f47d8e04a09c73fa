#include "plan/machine_step.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/dtype.h"

namespace tw::plan {
namespace {

/// The parameter that an op multiplies with, by the op's name; of several the first.
std::string weight_name(const ops::OpCost& op, bool second) {
  static const std::map<std::string_view, std::pair<const char*, const char*>> kNames = {
      {"qkv_rope", {"self_attn.q_proj", ""}},
      {"linear_residual", {"self_attn.o_proj", ""}},
      {"gated_ffn", {"mlp.gate_proj", "mlp.down_proj"}},
      {"gelu_ffn", {"mlp.up_proj", "mlp.down_proj"}}};
  const auto found = kNames.find(op.name);
  if (found == kNames.end()) return {};
  return fmt::format("model.layers.{}.{}.weight", op.layer,
                     second ? found->second.second : found->second.first);
}

/// A product's output is added to the residual as it is written: it costs nothing by itself.
bool inside_another(const ops::OpCost& op) {
  return op.name == "residual";
}
bool is_activation(const ops::OpCost& op) {
  return op.name == "silu_mul" || op.name == "gelu";
}

/// Matrices of one shape that an op multiplies with one after the other: gate and up, which widen.
double parts_of(const ops::OpCost& op) {
  return op.name == "gated_ffn" && op.n > op.k ? 2 : 1;
}

/// What an op takes in a step that it does not take alone. An activation is part of the op before.
double between_seconds(const Between& b, const ops::OpCost& op, double bytes) {
  if (inside_another(op) || is_activation(op)) return 0;
  return b.gap + b.byte * bytes;
}

StepKind kind_of(const StepLoad& load) {
  return load.prompts > 0 ? StepKind::kPrompt : StepKind::kGenerated;
}

/// Bytes of all weights that a step reads.
double weight_bytes(std::span<const MachineOp> ops) {
  double bytes = 0;
  for (const MachineOp& o : ops) {
    if (o.op.kind == ops::OpKind::kMatmul) bytes += o.count * o.op.weight_bytes;
  }
  return bytes;
}

double type_bytes(std::string_view type, double elements) {
  for (int i = 0; i < base::kDTypeCount; ++i) {
    const base::DTypeInfo& info = base::dtype_info(static_cast<base::DType>(i));
    if (info.name == type) return elements * info.block_bytes / info.block_elements;
  }
  return elements * 2;
}

/// What a step's load makes of one op.
class Step {
 public:
  Step(const MachineCurves& curves, const StepLoad& load, int threads, double weights)
      : m_(curves), load_(load), threads_(threads), weights_(std::max(1.0, weights)) {
    wanted_ = load.answers + (load.prompts > 0 ? 1 : 0);
  }

  double seconds(const MachineOp& o) const {
    switch (o.op.kind) {
      case ops::OpKind::kMatmul:
        return o.head ? product(Measured::kGeneratedProduct, o, wanted_)
                      : product(Measured::kGeneratedProduct, o, load_.answers) +
                            product(Measured::kPromptProduct, o, load_.prompts);
      case ops::OpKind::kAttention:
        return attention(Measured::kGeneratedAttention, o, load_.cached) +
               attention(Measured::kPromptAttention, o, load_.prompt_pairs);
      case ops::OpKind::kRows:
        break;
      case ops::OpKind::kCollective:
        return 0;
    }
    if (inside_another(o.op)) return 0;
    const double bytes = std::max(1.0, rows(o) * o.op.activation_bytes);
    // Tables may be in a type that nothing is multiplied in, and that was not measured.
    if (o.op.name == "embed" && m_.has(Measured::kEmbed, o.type, threads_))
      return m_.seconds(Measured::kEmbed, o.type, threads_, 1, bytes, 1);
    const Measured kind = is_activation(o.op)         ? Measured::kActivation
                          : o.op.name == "rope_table" ? Measured::kAngles
                                                      : Measured::kRows;
    return m_.seconds(kind, {}, threads_, 1, bytes, 1);
  }
  double wanted() const { return wanted_; }
  double rows(const MachineOp& o) const { return o.head ? wanted_ : load_.answers + load_.prompts; }
  /// Of activations and of keys and values: all of a step's weights pass between two uses of these, so that
  /// they are not where attention that is timed alone finds them.
  double bytes(const MachineOp& o) const {
    if (o.op.kind != ops::OpKind::kAttention) return rows(o) * o.op.activation_bytes;
    const double queries = 2.0 * sizeof(float) * o.op.m * o.op.n * o.op.k;  // read, and as much written
    const double key = std::max(0.0, o.op.activation_bytes - queries) / o.op.all_pairs;
    return rows(o) * queries / o.op.m + key * (load_.cached + load_.prompts);
  }

 private:
  double product(Measured kind, const MachineOp& o, double rows) const {
    if (rows <= 0) return 0;
    const double parts = parts_of(o.op);
    return parts * m_.seconds(kind, o.type, threads_, rows, o.op.n * o.op.k / parts, weights_);
  }
  double attention(Measured kind, const MachineOp& o, double pairs) const {
    if (pairs <= 0) return 0;
    return m_.seconds(kind, {}, threads_, 1, o.op.flops / o.op.pairs * pairs, o.op.k);
  }

  const MachineCurves& m_;
  const StepLoad& load_;
  int threads_;
  double weights_, wanted_ = 0;
};

}  // namespace

std::string_view machine_type(Precision precision) {
  return base::dtype_name(precision == Precision::kBf16  ? base::DType::kBF16
                          : precision == Precision::kFp8 ? base::DType::kQ8_0
                                                         : base::DType::kQ4_0);
}

std::vector<MachineOp> trace_loaded(const model::LoadedModel& model) {
  const spec::ModelConfig& config = model.config();
  std::map<std::string_view, std::string_view> types;
  std::string_view head, table;
  for (const model::Param& p : model.params().params()) {
    if (p.name.starts_with("model.embed_tokens")) table = base::dtype_name(p.table.type);
    if (!p.multiplied()) continue;
    types[p.name] = base::dtype_name(p.matrix.type());
    if (p.name.starts_with("lm_head") || p.name.starts_with("model.embed")) head = types[p.name];
  }
  model::Batch batch;
  batch.add_group(1, 1, 1);
  batch.want(0);
  model::KvView kv;
  kv.longest = 2;
  kv.layers.assign(config.layers, {nullptr, nullptr, base::DType::kF16, kernels::kKvBlock, config.kv_heads,
                                   config.head_dim});
  ops::Trace trace;
  ops::Exec ex(model.table(), trace);
  model.transformer().logits(ex, model.transformer().forward(ex, batch, kv));
  std::vector<MachineOp> list;
  int layer = -1;
  std::string before;
  for (ops::OpCost& op : trace.ops) {
    MachineOp o{std::move(op), 1, {}, false};
    o.head = o.op.layer >= config.layers;
    if (o.op.kind == ops::OpKind::kMatmul) {
      const bool second = o.op.layer == layer && o.op.name == before;
      layer = o.op.layer, before = o.op.name;
      const auto found = types.find(weight_name(o.op, second));
      o.type = found == types.end() ? head : found->second;
    }
    if (o.op.name == "embed") o.type = table;
    list.push_back(std::move(o));
  }
  return list;
}

std::vector<MachineOp> trace_planned(const spec::ModelConfig& model, const BlockTrace& trace,
                                     std::string_view type) {
  std::vector<MachineOp> list;
  const double layers = static_cast<double>(model.layers);
  const double dense = model.experts.count > 0 ? static_cast<double>(model.experts.dense_layers) : layers;
  const auto add = [&](const std::vector<ops::OpCost>& ops, double count, bool head) {
    if (count <= 0) return;
    for (const ops::OpCost& op : ops) {
      list.push_back({op, count, std::string(type), head});
      if (op.kind == ops::OpKind::kMatmul)
        list.back().op.weight_bytes = type_bytes(type, op.n * op.k * std::max(1.0, op.groups));
    }
  };
  add(trace.embed, 1, false);
  add(trace.dense, dense, false);
  add(trace.expert, layers - dense, false);
  add(trace.head, 1, true);
  return list;
}

base::Status need_curves(const MachineCurves& m, std::span<const MachineOp> ops, int threads) {
  for (const MachineOp& o : ops) {
    if (o.op.kind != ops::OpKind::kMatmul) continue;
    TW_RETURN_IF_ERROR(m.need(Measured::kGeneratedProduct, o.type, threads));
    TW_RETURN_IF_ERROR(m.need(Measured::kPromptProduct, o.type, threads));
  }
  for (const Measured kind : {Measured::kGeneratedAttention, Measured::kPromptAttention, Measured::kRows,
                              Measured::kActivation, Measured::kPick, Measured::kStep, Measured::kAngles})
    TW_RETURN_IF_ERROR(m.need(kind, {}, threads));
  return base::Ok{};
}

double machine_added(const MachineCurves& m, std::span<const MachineOp> ops, const StepLoad& load,
                     int threads) {
  const Step step(m, load, threads, weight_bytes(ops));
  const Between between = m.between(kind_of(load), threads);
  double sum = 0;
  for (const MachineOp& o : ops) {
    sum += o.count * (step.seconds(o) + between_seconds(between, o.op, step.bytes(o)));
    // Workers share the rows whose likeliest token is sought.
    if (o.op.name == "linear")
      sum += std::ceil(step.wanted() / threads) * m.seconds(Measured::kPick, {}, threads, 1, o.op.n, 1);
  }
  return sum;
}

base::DType machine_train_type(const MachineCurves& m) {
  const bool half = m.has(Measured::kTrainProduct, base::dtype_name(base::DType::kBF16), m.threads);
  return half ? base::DType::kBF16 : base::DType::kF32;
}

namespace {

std::string_view train_type_of(const MachineCurves& m) {
  return base::dtype_name(machine_train_type(m));
}

}  // namespace

base::Status need_training(const MachineCurves& m) {
  TW_RETURN_IF_ERROR(m.need(Measured::kTrainProduct, train_type_of(m), m.threads));
  for (const Measured kind : {Measured::kTrainAttention, Measured::kTrainRows, Measured::kTrainActivation,
                              Measured::kLoss, Measured::kOptimizer})
    TW_RETURN_IF_ERROR(m.need(kind, {}, m.threads));
  return base::Ok{};
}

namespace {

double train_op_seconds(const MachineCurves& m, const ops::OpCost& op, double sequences) {
  if (op.kind == ops::OpKind::kMatmul) {
    const double parts = parts_of(op);
    const double product =
        parts * m.seconds(Measured::kTrainProduct, train_type_of(m), m.threads, op.m, op.n * op.k / parts, 1);
    return product + (op.name == "linear" ? m.seconds(Measured::kLoss, {}, m.threads, 1, op.m * op.n, 1) : 0);
  }
  if (op.kind == ops::OpKind::kAttention)
    return sequences * m.seconds(Measured::kTrainAttention, {}, m.threads, 1, op.flops / sequences, op.k);
  return m.seconds(is_activation(op) ? Measured::kTrainActivation : Measured::kTrainRows, {}, m.threads, 1,
                   std::max(1.0, op.activation_bytes), 1);
}

}  // namespace

double machine_train_seconds(const MachineCurves& m, const ops::OpCost& op, double sequences) {
  if (inside_another(op) || op.kind == ops::OpKind::kCollective) return 0;
  return train_op_seconds(m, op, sequences) +
         between_seconds(m.between(StepKind::kTrain, m.threads), op, op.activation_bytes);
}

double machine_host_seconds(const MachineCurves& m, StepKind kind, int threads) {
  const bool waking = m.has(Measured::kStep, {}, threads);
  return m.between(kind, threads).host + (waking ? m.seconds(Measured::kStep, {}, threads, 1, 1, 1) : 0);
}

double machine_seconds(const MachineCurves& m, std::span<const MachineOp> ops, const StepLoad& load,
                       int threads) {
  return machine_added(m, ops, load, threads) + machine_host_seconds(m, kind_of(load), threads);
}

}  // namespace tw::plan
