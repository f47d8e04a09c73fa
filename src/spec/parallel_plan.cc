#include "spec/parallel_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <tuple>
#include <vector>

#include "spec/field_file.h"
#include "spec/range.h"

namespace tw::spec {
namespace {

/// The divisor of `whole` nearest to `wanted`.
std::int64_t nearest_divisor(std::int64_t whole, std::int64_t wanted) {
  std::int64_t best = 1;
  for (std::int64_t d = 1; d <= whole && d <= 2 * wanted; ++d) {
    if (whole % d == 0 && std::llabs(d - wanted) <= std::llabs(best - wanted)) best = d;
  }
  return best;
}

base::Status divides(const char* what, std::int64_t whole, const char* by, std::int64_t part) {
  if (part >= 1 && whole % part == 0) return base::Ok{};
  return base::error(base::Code::kInvalidArgument, "{} ({}) does not divide by {} {}: {} {} would", what,
                     whole, by, part, by, nearest_divisor(whole, std::max<std::int64_t>(part, 1)));
}

/// ": dp 8 tp 8 would fit": the sizes nearest to those of the plan whose product are all accelerators; empty:
/// none near them is valid.
std::string nearest_filling(const ParallelPlan& plan, const ModelConfig& model, std::int64_t wanted,
                            std::int64_t global_batch) {
  constexpr int kNear = 16;
  const auto near = [&](int size) {
    std::vector<int> divisors;
    for (int d = std::max(1, size / kNear); d <= size * kNear && d <= wanted; ++d) {
      if (wanted % d == 0) divisors.push_back(d);
    }
    return divisors;
  };
  const auto apart = [](int a, int b) { return std::fabs(std::log2(static_cast<double>(a) / b)); };
  ParallelPlan best;
  double least = INFINITY;
  for (const int tensor : near(plan.tensor)) {
    for (const int pipeline : near(plan.pipeline)) {
      for (const int context : near(plan.context)) {
        const std::int64_t others = std::int64_t{tensor} * pipeline * context;
        const double off =
            apart(tensor, plan.tensor) + apart(pipeline, plan.pipeline) + apart(context, plan.context);
        if (off >= least || wanted % others != 0) continue;
        ParallelPlan p = plan;
        p.tensor = tensor, p.pipeline = pipeline, p.context = context,
        p.data = static_cast<int>(wanted / others);
        if (p.validate(model, wanted, global_batch).ok()) best = p, least = off;
      }
    }
  }
  if (least == INFINITY) return {};
  std::string text = fmt::format(": dp {}", best.data);
  for (const auto& [name, size, was] :
       {std::tuple("tp", best.tensor, plan.tensor), std::tuple("pp", best.pipeline, plan.pipeline),
        std::tuple("cp", best.context, plan.context)}) {
    if (size != was) text += fmt::format(" {} {}", name, size);
  }
  return text + " would fit";
}

/// A plan whose dp divides the batch can keep it: then it is the micro-batch that is to change.
base::Status check_batch(const ParallelPlan& plan, std::int64_t batch) {
  const std::int64_t together = std::int64_t{plan.data} * plan.micro_batch;
  if (batch % together == 0) return base::Ok{};
  const std::string text =
      fmt::format("the global batch ({}) does not divide by dp {} x micro-batch {}: ", batch, plan.data,
                  plan.micro_batch);
  if (batch % plan.data == 0)
    return base::error(base::Code::kInvalidArgument, "{}micro-batch {} would", text,
                       nearest_divisor(batch / plan.data, plan.micro_batch));
  const std::int64_t below = batch / together * together, above = below + together;
  return base::error(base::Code::kInvalidArgument, "{}a batch of {} would", text,
                     below > 0 && batch - below <= above - batch ? below : above);
}

base::Status check_shard(const ParallelPlan& plan) {
  if (plan.shard == 0) return base::Ok{};
  if (plan.shard < 0 || plan.shard > 1 << 20)
    return base::error(base::Code::kInvalidArgument, "shard is 0 to {}, not {}", 1 << 20, plan.shard);
  TW_RETURN_IF_ERROR(divides("dp x cp", plan.replicas(), "shard", plan.shard));
  if (plan.zero == 0 && plan.shard > 1)
    return base::error(base::Code::kInvalidArgument,
                       "shard {} has nothing to share with zero 0: zero 3 would make it HSDP", plan.shard);
  // A group holds whole sets of experts, as its copies are all alike.
  return plan.expert > 1 ? divides("shard x tp", std::int64_t{plan.shard} * plan.tensor, "ep", plan.expert)
                         : base::Status(base::Ok{});
}

}  // namespace

base::Status ParallelPlan::check_sizes() const {
  const std::pair<const char*, int> sizes[] = {{"dp", data},
                                               {"tp", tensor},
                                               {"pp", pipeline},
                                               {"cp", context},
                                               {"ep", expert},
                                               {"micro-batch", micro_batch},
                                               {"interleave", interleave}};
  for (const auto& [name, size] : sizes) TW_RETURN_IF_ERROR(in_range(name, size, 1, 1 << 20));
  return base::Ok{};
}

base::Status ParallelPlan::validate(const ModelConfig& model, std::int64_t wanted,
                                    std::int64_t global_batch) const {
  TW_RETURN_IF_ERROR(check_sizes());
  // Each size may be large, but not their product: ranks() must not overflow.
  constexpr std::int64_t kMostRanks = 1 << 30;
  std::int64_t product = 1;
  for (const int size : {data, tensor, pipeline, context}) {
    product *= size;
    if (product > kMostRanks)
      return base::error(base::Code::kInvalidArgument,
                         "dp {} x tp {} x pp {} x cp {} are more than {} accelerators", data, tensor,
                         pipeline, context, kMostRanks);
  }
  if (zero < 0 || zero > 3) return base::error(base::Code::kInvalidArgument, "zero is 0 to 3, not {}", zero);
  if (ranks() != wanted)
    return base::error(
        base::Code::kInvalidArgument,
        "the plan is for {} accelerators (dp {} x tp {} x pp {} x cp {}) and the cluster has {}{}", ranks(),
        data, tensor, pipeline, context, wanted, nearest_filling(*this, model, wanted, global_batch));
  TW_RETURN_IF_ERROR(divides("heads", model.heads, "tp", tensor));
  TW_RETURN_IF_ERROR(divides("ffn_width", model.ffn_width, "tp", tensor));
  if (pipeline > model.layers)
    return base::error(base::Code::kInvalidArgument, "{} layers cannot make {} stages: pp {} would",
                       model.layers, pipeline, model.layers);
  // Stages may be uneven; the embedding and the head may stand for a layer each, as Megatron-Core counts.
  if (std::int64_t{pipeline} * interleave > model.layers + 2)
    return base::error(base::Code::kInvalidArgument,
                       "{} layers cannot make {} stages of {} pieces: interleave {} would", model.layers,
                       pipeline, interleave, std::max<std::int64_t>(1, model.layers / pipeline));
  if (zero_bubble && (pipeline == 1 || interleave > 1))
    return base::error(
        base::Code::kInvalidArgument,
        "zero-bubble needs stages of one piece, not pp {} interleave {}: leave it away, or pp 2 "
        "interleave 1 would do",
        pipeline, interleave);
  TW_RETURN_IF_ERROR(check_batch(*this, global_batch));
  TW_RETURN_IF_ERROR(check_shard(*this));
  if (offload == Offload::kParameters && zero != 3)
    return base::error(base::Code::kInvalidArgument,
                       "offload parameters needs zero 3, not {}, which fetches layer by layer: offload "
                       "optimizer would do",
                       zero);
  if (expert > 1) {
    if (model.experts.count == 0)
      return base::error(base::Code::kInvalidArgument,
                         "a model without experts cannot have ep {}: ep 1 would do", expert);
    TW_RETURN_IF_ERROR(divides("experts", model.experts.count, "ep", expert));
    TW_RETURN_IF_ERROR(divides("dp x cp x tp", std::int64_t{data} * context * tensor, "ep", expert));
  }
  return base::Ok{};
}

std::string ParallelPlan::text() const {
  std::string result = fmt::format("dp {}", data);
  const std::pair<const char*, int> parts[] = {
      {"tp", tensor}, {"pp", pipeline}, {"cp", context}, {"ep", expert}, {"vpp", interleave}};
  for (const auto& [name, size] : parts) {
    if (size > 1) result += fmt::format(" {} {}", name, size);
  }
  if (zero_bubble) result += " zb";
  result += fmt::format(" mb {} zero {}", micro_batch, zero);
  if (shard > 0) result += fmt::format(" shard {}", shard);
  result += fmt::format(" recompute {}{}", recompute_name(recompute), sequence ? " sp" : "");
  if (offload != Offload::kNone) result += fmt::format(" offload {}", offload_name(offload));
  return result;
}

const char* recompute_name(Recompute recompute) {
  static constexpr const char* kNames[] = {"none", "selective", "full"};
  return kNames[static_cast<int>(recompute)];
}

base::Result<Recompute> parse_recompute(std::string_view name) {
  for (const Recompute r : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
    if (name == recompute_name(r)) return r;
  }
  return base::error(base::Code::kInvalidArgument, "\"{}\" is not none, selective or full", name);
}

const char* offload_name(Offload offload) {
  static constexpr const char* kNames[] = {"none", "optimizer", "parameters"};
  return kNames[static_cast<int>(offload)];
}

base::Status set_field(Offload& field, const base::Json& value) {
  for (const Offload o : {Offload::kNone, Offload::kOptimizer, Offload::kParameters}) {
    if (!value.is_string() || value.get<std::string>() != offload_name(o)) continue;
    field = o;
    return base::Ok{};
  }
  return base::error(
      base::Code::kInvalidArgument,
      "it is none, optimizer or parameters, not {} (activations stay where they are: recompute "
      "selective or full holds fewer)",
      base::dump_json(value));
}

base::Status set_field(Recompute& field, const base::Json& value) {
  if (!value.is_string())
    return base::error(base::Code::kInvalidArgument, "it is none, selective or full, not {}",
                       base::dump_json(value));
  TW_ASSIGN_OR_RETURN(field, parse_recompute(value.get<std::string>()));
  return base::Ok{};
}

std::string plan_file(const ParallelPlan& plan) {
  base::OrderedJson json;
  ParallelPlan::visit(plan, [&](const char* name, const auto& field, const char*) {
    using Field = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, Recompute>)
      json[name] = recompute_name(field);
    else if constexpr (std::is_same_v<Field, Offload>)
      json[name] = offload_name(field);
    else
      json[name] = field;
  });
  return json.dump(2) + "\n";
}

base::Status read_plan(std::string_view text, const std::string& where, ParallelPlan& plan) {
  return read_fields(text, where, plan);
}

}  // namespace tw::spec
