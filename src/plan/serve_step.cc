#include "plan/serve_step.h"

#include <cmath>
#include <tuple>

#include "plan/machine_step.h"
#include "plan/memory.h"

namespace tw::plan {
namespace {

constexpr double kHalf = 2;  ///< bytes of a 16-bit number
/// Bytes whose collective is all latency, which is a stack's own constant.
constexpr double kLatencyBytes = 1024;
/// Seconds of a layer's small kernels (norms, rotation, cache writes) in a step that is launched as one
/// graph.
constexpr double kSmallKernels = 5e-6;
/// A layer of experts launches twice as much as another (as in training).
constexpr double kExpertLaunches = 2;
/// What Tokenworks takes beside weights and cache: its program and a step's activations.
constexpr double kOwnBytes = 256e6;

base::Result<double> needed(const Accelerator& a, Field field, double unit) {
  TW_ASSIGN_OR_RETURN(const Quantity q, a.get(field));
  return q.value * unit;
}

/// Elements of keys and values that a rank keeps of a token and layer. The latent ones of multi-head latent
/// attention are on all ranks (arXiv 2405.04434).
double cached_elements(const spec::ModelConfig& part) {
  if (part.latent.kv_rank > 0) return static_cast<double>(part.latent.kv_rank + part.latent.rope_dim);
  return 2.0 * static_cast<double>(part.kv_width());
}

/// As where no collective was measured (curves.cc).
constexpr double kSendLatency = 10e-6, kSendShare = 0.8;

}  // namespace

double serve_seconds(const ServeStep& s, const ServeConstants& c) {
  const auto at = [&](ServeConstant name) { return c[static_cast<int>(name)]; };
  const double accelerators = s.products * at(ServeConstant::kProduct) +
                              s.prompt_products * at(ServeConstant::kPrompt) +
                              s.memory / at(ServeConstant::kMemory) + s.network +
                              s.collectives * at(ServeConstant::kCollective) + at(ServeConstant::kStep);
  return std::max({accelerators, launch_seconds(s, c), s.answers * kHostSeconds});
}

base::Result<ServeCosts> ServeCosts::make(Tracer& tracer, const ServeSplit& split, const Accelerator& a,
                                          Precision precision, double cache_bytes) {
  ServeCosts c(a);
  c.precision_ = precision;
  c.split_ = split;
  TW_ASSIGN_OR_RETURN(c.peak16_, needed(a, a[Field::kBf16] ? Field::kBf16 : Field::kFp16, 1e12));
  // Weights in a format that is not multiplied are widened on the way.
  c.peak_ = a[peak_field(precision)].value_or(c.peak16_ / 1e12) * 1e12;
  TW_ASSIGN_OR_RETURN(c.memory_, needed(a, Field::kMemoryBandwidth, 1e9));
  const spec::ModelConfig& model = tracer.model();
  if (split.pipeline > model.layers)
    return base::error(base::Code::kInvalidArgument, "{} layers do not make {} stages", model.layers,
                       split.pipeline);
  TW_ASSIGN_OR_RETURN(const spec::ModelConfig part, model.part(split.tensor, split.expert));
  // One token of a sequence with one in the cache: all that grows with tokens is linear in them.
  TW_ASSIGN_OR_RETURN(const BlockTrace* trace, tracer.get({split.tensor, 1, split.expert, false}, {1, 1, 1}));
  const double layers = static_cast<double>(model.layers), stages = split.pipeline;
  // All stages wait for the one with most layers: as if each had so many.
  const double most = std::ceil(layers / stages), uneven = most * stages / layers;
  const double all_dense = model.experts.count > 0 ? static_cast<double>(model.experts.dense_layers) : layers;
  const double dense = uneven * all_dense, expert = uneven * (layers - all_dense);
  c.layers_ = uneven * layers;
  c.launches_ = dense + kExpertLaunches * expert;
  c.experts_ = static_cast<double>(model.experts.count),
  c.chosen_ = static_cast<double>(model.experts.chosen);
  // Of one layer of each kind; experts fill a stage where there are so many.
  double held[2] = {0, 0};
  for (const auto& [ops, count, at] :
       {std::tuple(&trace->dense, dense, 0), std::tuple(&trace->expert, expert, 1)}) {
    const std::size_t first = c.products_.size();
    for (const ops::OpCost& op : *ops) c.add(op, count);
    for (std::size_t i = first; i < c.products_.size(); ++i) {
      const Product& p = c.products_[i];
      held[at] += std::max(1.0, p.experts) * p.weights * c.bytes_of(p);
    }
  }
  for (const ops::OpCost& op : trace->head) {
    c.add(op, 1);
    if (op.kind == ops::OpKind::kMatmul) c.products_.back().answers = true;
  }
  const double tables = trace->embed_parameters + trace->head_parameters;
  const double experts = std::min(most, layers - all_dense);
  c.weights_ = std::max(experts * held[1] + (most - experts) * held[0],
                        std::min(most, all_dense) * held[0] + std::max(0.0, most - all_dense) * held[1]);
  c.weights_ += kHalf * (stages > 1 ? std::max(trace->embed_parameters, trace->head_parameters) : tables);
  c.cache_ = most * cached_elements(part) * cache_bytes;
  const bool meets = (c.sums_ > 0 && split.tensor > 1) || (c.exchanges_ > 0 && split.expert > 1);
  if (meets) TW_RETURN_IF_ERROR(Curves::shipped().need_collectives(a));
  TW_RETURN_IF_ERROR(c.join_stages(model));
  if (a.machine != nullptr) TW_RETURN_IF_ERROR(c.take_machine(model, *trace));
  return c;
}

/// What passes from stage to stage: 1/tp of the activations by each rank (as in training), over the domain or
/// over its NIC.
base::Status ServeCosts::join_stages(const spec::ModelConfig& model) {
  const double stages = split_.pipeline;
  if (stages < 2) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const Quantity known, a_.get(Field::kScaleUpDomain));
  const double domain = std::max(1.0, known.value);
  const double together = std::max(1.0, std::floor(domain * stages / split_.ranks()));  // stages of a domain
  const double outside = std::ceil(stages / together) - 1, inside = stages - 1 - outside;
  stage_sends_ = (stages - 1) * kSendLatency;
  const double bytes = static_cast<double>(model.width) * kHalf / split_.tensor;
  if (outside > 0) {
    TW_ASSIGN_OR_RETURN(const Quantity nic, a_.get(Field::kNic));
    stage_seconds_ += outside * bytes / (nic.value * 1e9 * kSendShare);
  }
  if (inside > 0) {
    TW_ASSIGN_OR_RETURN(const Quantity line, a_.inside());
    stage_seconds_ += inside * bytes / (line.value * 1e9 * kSendShare);
  }
  return base::Ok{};
}

base::Status ServeCosts::take_machine(const spec::ModelConfig& model, const BlockTrace& trace) {
  TW_RETURN_IF_ERROR(model.runnable());
  machine_ops_ = trace_planned(model, trace, machine_type(precision_));
  return need_curves(*a_.machine, machine_ops_, a_.machine->threads);
}

double ServeCosts::framework_bytes() const {
  return a_.machine != nullptr ? kOwnBytes : kFrameworkBytes;
}

void ServeCosts::add(const ops::OpCost& op, double count) {
  switch (op.kind) {
    case ops::OpKind::kMatmul: {
      // Checkpoints in 4 bits leave a mixture's attention in 16 (exclude_modules in hf_quant_config.json of
      // nvidia/DeepSeek-V3-0324-NVFP4; gpt-oss and Kimi quantize experts alone).
      const bool attention =
          op.name.ends_with("qkv") || op.name == "qkv_rope" || op.name == "linear_residual";
      const bool sixteen = op.name == "linear" || op.name == "router" ||
                           (attention && experts_ > 0 && precision_ == Precision::kFp4);
      // One kernel runs both products of the experts.
      const bool experts = op.name == "moe_ffn";
      if (experts && !products_.empty() && products_.back().experts > 0)
        products_.back().weights += op.n * op.k;
      else
        products_.push_back({count, op.n * op.k, experts ? op.groups : 0, sixteen, false});
      return;
    }
    case ops::OpKind::kAttention:
      pair_flops_ += count * op.flops / op.pairs;
      return;
    case ops::OpKind::kCollective:
      return collect(op, count);
    case ops::OpKind::kRows:
      rows_ += count * op.activation_bytes / sizeof(float) * kHalf;
      return;
  }
}

void ServeCosts::collect(const ops::OpCost& op, double count) {
  // Ranks that share their rows deal experts out without sending any: each computes its own, and the sum that
  // follows brings them together.
  if (op.axis == ops::Axis::kExpert && split_.attention == 1) return;
  const bool sum = op.axis == ops::Axis::kTensor;
  (sum ? sums_ : exchanges_) += count;
  (sum ? sum_elements_ : exchange_elements_) = op.elements;
}

double ServeCosts::bytes_of(const Product& p) const {
  return p.sixteen ? kHalf : plan::weight_bytes(precision_);
}

double ServeCosts::experts_seconds(const Product& p, double rows) {
  const double tokens = rows * split_.attention;
  const double routed = tokens * chosen_ * p.experts / experts_;
  const double hit = p.experts * (1 - std::pow(1 - chosen_ / experts_, tokens));
  const CurveValue v = Curves::shipped().experts_seconds(
      a_, hit * p.weights * plan::weight_bytes(precision_) / memory_, 2 * routed * p.weights / peak_);
  provenance_ = weaker(provenance_, v.provenance);
  return v.value;
}

double ServeCosts::product_seconds(double rows, double wanted) {
  double seconds = 0;
  for (const Product& p : products_) {
    const double own = p.answers ? wanted : rows;
    if (own <= 0 || p.count <= 0) continue;
    if (p.experts > 0) {
      seconds += p.count * experts_seconds(p, own);
      continue;
    }
    const CurveValue v =
        Curves::shipped().product_seconds(a_, p.sixteen ? Precision::kBf16 : precision_, own, p.weights);
    provenance_ = weaker(provenance_, v.provenance);
    seconds += p.count * v.value;
  }
  return seconds;
}

double ServeCosts::network_seconds(double rows) {
  const auto beyond_latency = [&](ops::Collective kind, int ranks, double elements) {
    const auto seconds = [&](double bytes) {
      const CurveValue v = Curves::shipped().collective_seconds(a_, kind, ranks, bytes);
      provenance_ = weaker(provenance_, v.provenance);
      return v.value;
    };
    return std::max(0.0, seconds(rows * elements * kHalf) - seconds(kLatencyBytes));
  };
  double sum = stage_sends_ + stage_seconds_ * rows;
  if (sums_ > 0) sum += sums_ * beyond_latency(ops::Collective::kAllReduce, split_.tensor, sum_elements_);
  if (exchanges_ > 0)
    sum += exchanges_ * beyond_latency(ops::Collective::kAllToAll, split_.expert, exchange_elements_);
  return sum;
}

ServeStep ServeCosts::added(const StepLoad& load) {
  ServeStep s;
  if (!machine_ops_.empty()) {
    (load.prompts > 0 ? s.prompt_products : s.products) =
        machine_added(*a_.machine, machine_ops_, load, a_.machine->threads);
    return s;
  }
  s.launches = launches_;
  // Micro-batches follow each other through the stages; a step of all of them is as long as one that is
  // alone, whose rows are a stage's share.
  const double rows = std::ceil((load.answers + load.prompts) / split_.pipeline);
  const double wanted = std::ceil((load.answers + (load.prompts > 0 ? 1 : 0)) / split_.pipeline);
  const auto key = static_cast<std::int64_t>(rows) * (1 << 20) + static_cast<std::int64_t>(wanted);
  const auto [found, fresh] = known_.try_emplace(key);
  if (fresh) found->second = {product_seconds(rows, wanted), network_seconds(rows)};
  (load.prompts > 0 ? s.prompt_products : s.products) = found->second.first;
  s.network = found->second.second;
  if (load.prompt_pairs > 0) {
    const CurveValue v = Curves::shipped().attention_share(a_, std::max(1.0, load.prompt_seen));
    s.prompt_products += load.prompt_pairs / split_.pipeline * pair_flops_ / (peak16_ * v.value);
  }
  s.memory = (load.cached / split_.pipeline * cache_ * split_.pipeline + rows * rows_) / memory_;
  return s;
}

ServeStep ServeCosts::step(const StepLoad& load) {
  ServeStep s = added(load);
  if (!machine_ops_.empty()) return s;
  s.products += layers_ * kSmallKernels;
  const bool graph = load.prompts <= 0 || load.answers + load.prompts <= load.graph_tokens;
  s.launches = graph ? 0 : launches_;
  s.collectives = sums_ + exchanges_;
  s.answers = load.answers;
  return s;
}

}  // namespace tw::plan
