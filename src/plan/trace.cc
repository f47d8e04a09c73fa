#include "plan/trace.h"

#include <utility>

#include "model/transformer.h"

namespace tw::plan {
namespace {

/// The plain kernels: their layouts are the file's own, so that bytes are those of the numbers.
const kernels::Table& plain_kernels() {
  static const kernels::Table table = [] {
    auto made = kernels::make_table("ref", kernels::detect_features());
    TW_CHECK(made.ok(), "every machine has the ref kernels");
    return std::move(made).value();
  }();
  return table;
}

constexpr auto kWeights = base::DType::kBF16;

/// Gives every parameter its shape and no data.
void bind_shapes(model::ParamStore& store) {
  const kernels::MatmulKernel& kernel = *plain_kernels().matmul[static_cast<int>(kWeights)];
  for (model::Param& param : store.params()) {
    if (param.multiplied())
      param.matrix = tensor::PackedMatrix(kernel, kWeights, nullptr, param.shape[0], param.shape[1], {});
    if (param.use == model::Use::kVector)
      param.vector = {base::DType::kF32, {param.shape[0]}, nullptr};
    else
      param.table = {kWeights, nullptr, param.shape[0], param.shape.size() > 1 ? param.shape[1] : 1};
  }
}

/// The part with at most one layer of each kind; `expert_layer` says which of the two is the last.
spec::ModelConfig shortened(spec::ModelConfig part, bool expert_layer) {
  part.layers = expert_layer && part.experts.dense_layers > 0 ? 2 : 1;
  part.experts.dense_layers = expert_layer && part.experts.dense_layers == 0 ? 0 : 1;
  return part;
}

void count_parameters(const model::ParamStore& store, int last_layer, bool expert_layer, BlockTrace& trace) {
  const std::string prefix = "model.layers." + std::to_string(last_layer) + ".";
  for (const model::Param& p : store.params()) {
    const auto elements = static_cast<double>(p.elements());
    if (p.name.starts_with("model.embed")) trace.embed_parameters += elements;
    if (p.name.starts_with("lm_head")) trace.head_parameters += elements;
    if (!p.name.starts_with(prefix)) continue;
    const bool routed = p.name.find(".mlp.experts.") != std::string::npos;
    (routed         ? trace.routed_parameters
     : expert_layer ? trace.expert_parameters
                    : trace.dense_parameters) += elements;
  }
}

/// Runs forward on shapes and files the ops of its last layer under `layer`.
void run(const spec::ModelConfig& part, const ops::Sharding& sharding, const StepShape& shape,
         bool expert_layer, BlockTrace& trace) {
  const spec::ModelConfig config = shortened(part, expert_layer);
  model::ParamStore store;
  const model::Transformer transformer(config, store);
  bind_shapes(store);
  model::Batch batch;
  batch.add_group(shape.sequences, shape.fresh / sharding.context, shape.past);
  // A decode step wants each sequence's last row; training and prompts' losses want all.
  const std::int64_t rows = batch.rows() / (sharding.sequence ? sharding.tensor : 1);
  for (std::int64_t row = 0; row < rows; ++row) batch.want(row);
  model::KvView kv;
  kv.longest = shape.past + shape.fresh;
  kv.layers.assign(config.layers, {nullptr, nullptr, base::DType::kBF16, kernels::kKvBlock, config.kv_heads,
                                   config.head_dim});
  ops::Trace recorded;
  ops::Exec ex(plain_kernels(), recorded, sharding);
  transformer.logits(ex, transformer.forward(ex, batch, kv));
  const int last = static_cast<int>(config.layers) - 1;
  trace.embed.clear(), trace.head.clear();
  trace.embed_parameters = trace.head_parameters = 0;
  for (ops::OpCost& op : recorded.ops) {
    if (op.layer < 0)
      trace.embed.push_back(std::move(op));
    else if (op.layer > last)
      trace.head.push_back(std::move(op));
    else if (op.layer == last)
      (expert_layer ? trace.expert : trace.dense).push_back(std::move(op));
  }
  count_parameters(store, last, expert_layer, trace);
}

/// The trace of `times` as many sequences.
BlockTrace repeated(BlockTrace trace, double times) {
  for (auto* list : {&trace.embed, &trace.dense, &trace.expert, &trace.head}) {
    for (ops::OpCost& op : *list) {
      op.flops *= times, op.activation_bytes *= times, op.m *= times;
      op.pairs *= times, op.all_pairs *= times, op.elements *= times;
    }
  }
  return trace;
}

}  // namespace

ops::Sharding plan_sharding(const spec::ParallelPlan& plan) {
  return {plan.tensor, plan.context, plan.expert, plan.sequence && plan.tensor > 1};
}

base::Result<const BlockTrace*> Tracer::get(const ops::Sharding& sharding, const StepShape& shape) {
  const Key key{sharding.tensor, sharding.context, sharding.expert, sharding.sequence, shape};
  if (const auto found = known_.find(key); found != known_.end()) return found->second.get();
  const std::int64_t cut = std::int64_t{sharding.context} * (sharding.sequence ? sharding.tensor : 1);
  std::unique_ptr<BlockTrace> made;
  if (shape.sequences > 1 && shape.fresh % cut == 0) {
    StepShape one = shape;
    one.sequences = 1;
    TW_ASSIGN_OR_RETURN(const BlockTrace* single, get(sharding, one));
    made = std::make_unique<BlockTrace>(repeated(*single, static_cast<double>(shape.sequences)));
  } else {
    TW_ASSIGN_OR_RETURN(made, trace(sharding, shape));
  }
  return (known_[key] = std::move(made)).get();
}

base::Result<std::unique_ptr<BlockTrace>> Tracer::trace(const ops::Sharding& sharding,
                                                        const StepShape& shape) {
  if (shape.fresh % sharding.context != 0) {
    return base::error(base::Code::kInvalidArgument, "sequences of {} tokens do not divide by cp {}",
                       shape.fresh, sharding.context);
  }
  TW_ASSIGN_OR_RETURN(const spec::ModelConfig part, model_.part(sharding.tensor, sharding.expert));
  auto trace = std::make_unique<BlockTrace>();
  const spec::Experts& e = model_.experts;
  if (e.count == 0 || e.dense_layers > 0) run(part, sharding, shape, false, *trace);
  if (e.count > 0) run(part, sharding, shape, true, *trace);
  return trace;
}

}  // namespace tw::plan
