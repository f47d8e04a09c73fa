#include "plan/training.h"

#include <algorithm>
#include <cmath>

#include "plan/machine_step.h"

namespace tw::plan {
namespace {

constexpr double kBytes = 2;  ///< of an activation or a weight in 16 bits
/// Kernels that a layer's backward launches for each of its forward's (Megatron-DeepSpeed's floor, 1.75 ms
/// with the recomputed forward against 0.53 ms: facts of vTrain's measurements).
constexpr double kBackwardLaunches = 2.3;
/// A layer of experts launches more: router, sorting, two exchanges, grouped products, and waits for counts.
constexpr double kExpertLaunches = 2;
/// Bytes that the scores of unfused attention move for each (query, key): product out 2, softmax 4, dropout
/// 5, product in 2; backward once more, with the gradients.
constexpr double kScoreBytes = 13, kScoreBytesBackward = 21;
/// FlashAttention's backward does 2.5 times the forward's products (arXiv 2205.14135), five for two.
constexpr double kFusedBackward = 2.5;
/// Row ops read the gradient besides.
constexpr double kRowsBackward = 1.5;
/// What a send takes at least, and one inside a domain (aiconfigurator's model of sends).
constexpr double kSendFloor = 20e-6, kSendFloorInside = 10e-6;
/// Of a domain's line that a send between two neighbours gets, as NCCL does.
constexpr double kSendShareInside = 0.8;
/// Of a torus's links that collectives reach, and a hop's time (jax-ml.github.io/scaling-book: 90 of 100
/// GB/s, about a microsecond).
constexpr double kTorusShare = 0.9, kTorusHop = 1e-6;
/// Of a PCIe or C2C line's rate that copies reach, and of a host's memory that its optimizer does.
constexpr double kHostShare = 0.8;
/// Adam in mixed precision: bytes read and written for a parameter.
constexpr double kOptimizerBytes = 34;

/// What a plan and a cluster make of an op.
class Pricer {
 public:
  static base::Result<Pricer> make(const TrainingJob& job, const spec::ParallelPlan& plan,
                                   const Accelerator& a, const Stack& stack, const Fabric& fabric) {
    Pricer p(job, plan, a, stack, fabric);
    if (a.machine != nullptr) TW_RETURN_IF_ERROR(need_training(*a.machine));
    TW_ASSIGN_OR_RETURN(const Quantity sixteen, sixteen_bit(a));
    p.peak16_ = sixteen.value * 1e12;
    p.peak_ = p.peak16_;
    if (job.precision != Precision::kBf16) {
      TW_ASSIGN_OR_RETURN(const Quantity peak, a.get(peak_field(job.precision)));
      p.peak_ = peak.value * 1e12;
    }
    TW_ASSIGN_OR_RETURN(const Quantity memory, a.get(Field::kMemoryBandwidth));
    p.memory_ = memory.value * 1e9;
    if (plan.ranks() == 1) return p;
    // Axes that span all ranks exchange something over each of them: what leaves a domain (of a torus: a
    // slice) goes over a NIC, whatever the links inside could do.
    TW_ASSIGN_OR_RETURN(const Quantity domain, a.get(Field::kScaleUpDomain));
    p.domain_ = domain.value;
    if (static_cast<double>(plan.ranks()) > p.domain_) {
      TW_ASSIGN_OR_RETURN(const Quantity nic, a.get(Field::kNic));
      p.nic_ = nic.value * 1e9;
    }
    // Whatever a plan of several ranks divides, some of it is exchanged inside a domain; a torus has links of
    // its own.
    if (p.domain_ > 1 && fabric.torus.sizes.empty()) {
      TW_ASSIGN_OR_RETURN(const Quantity line, a.inside());
      p.inside_ = line.value * 1e9;
    }
    return p;
  }

  /// Adds an op to the passes of its layer.
  void add(const ops::OpCost& op, LayerBasis& layer) {
    if (a_.machine != nullptr) {
      // Forward and backward are measured together: a third is the forward's.
      const double seconds = machine_train_seconds(*a_.machine, op, static_cast<double>(plan_.micro_batch));
      layer.forward.matmul += seconds / 3;
      layer.backward.matmul += seconds * 2 / 3;
      return;
    }
    switch (op.kind) {
      case ops::OpKind::kMatmul:
        return matmul(op, layer);
      case ops::OpKind::kAttention:
        return attention(op, layer);
      case ops::OpKind::kCollective:
        return collective(op, layer);
      case ops::OpKind::kRows:
        break;
    }
    const double seconds = op.activation_bytes / sizeof(float) * kBytes / memory_;
    layer.forward.memory += seconds;
    layer.backward.memory += kRowsBackward * seconds;
  }

  /// A collective over `ranks` of an axis whose neighbours stand `stride` ranks apart; way: 2 for all-reduce.
  Pass meet(ops::Collective kind, double ranks, double stride, double bytes) {
    Pass pass;
    if (ranks <= 1 || bytes <= 0) return pass;
    pass.collectives = 1;
    if (!fabric_.torus.sizes.empty()) return meet_on_torus(kind, ranks, stride, bytes);
    const double inner = std::clamp(std::floor(domain_ / stride), 1.0, ranks);
    if (inner >= ranks) {
      const CurveValue v = curves_.collective_seconds(a_, kind, static_cast<int>(ranks), bytes);
      pass.inside = v.value;
      provenance = weaker(provenance, v.provenance);
      return pass;
    }
    pass.network = network_seconds(fabric_, kind, ranks, stride, inner, bytes, nic_);
    return pass;
  }

  double seconds_of_send(double bytes, bool inside) const {
    if (inside && !fabric_.torus.sizes.empty()) return bytes / fabric_.torus_link;
    return bytes / (inside ? inside_ : nic_);
  }
  double memory_rate() const { return memory_; }
  double domain() const { return domain_; }

  Provenance provenance = Provenance::kMeasured;

 private:
  Pricer(const TrainingJob& job, const spec::ParallelPlan& plan, const Accelerator& a, const Stack& stack,
         const Fabric& fabric)
      : job_(job), plan_(plan), a_(a), stack_(stack), fabric_(fabric), curves_(Curves::shipped()) {}

  Pass meet_on_torus(ops::Collective kind, double ranks, double stride, double bytes) {
    const auto n = static_cast<std::int64_t>(ranks), apart = static_cast<std::int64_t>(stride);
    const SliceSeconds s = slices_seconds(fabric_, kind, n, apart, bytes, nic_);
    const std::int64_t inner = std::clamp<std::int64_t>(fabric_.torus.places() / apart, 1, n);
    Pass pass;
    pass.collectives = 1;
    pass.inside = s.inside / kTorusShare + torus_part(fabric_.torus, apart, inner).hops * kTorusHop;
    pass.network = s.network;
    provenance = weaker(provenance, Provenance::kExtrapolated);
    return pass;
  }

  static base::Result<Quantity> sixteen_bit(const Accelerator& a) {
    return a[Field::kBf16] ? a.get(Field::kBf16) : a.get(Field::kFp16);
  }

  double product(double flops, bool sixteen) {
    const Precision precision = sixteen ? Precision::kBf16 : job_.precision;
    const CurveValue v = curves_.matmul_share(a_, precision, flops);
    provenance = weaker(provenance, v.provenance);
    return flops / ((sixteen ? peak16_ : peak_) * v.value);
  }

  void matmul(const ops::OpCost& op, LayerBasis& layer) {
    if (op.flops <= 0) return;
    // The head and the router stay in 16 bits.
    const double seconds = product(op.flops, op.name == "linear" || op.name == "router");
    layer.forward.matmul += seconds;
    layer.backward.matmul += 2 * seconds;  // by the input and by the weight, of the same size each
    layer.weight += seconds;
  }

  void attention(const ops::OpCost& op, LayerBasis& layer) {
    const bool keeps_nothing = plan_.recompute == spec::Recompute::kSelective;
    if (stack_.fused_attention) {
      // In a ring each turn's kernel sees the keys of one rank.
      const double past = op.all_pairs / std::max(op.m, 1.0) / plan_.context;
      const CurveValue v = curves_.attention_share(a_, past);
      provenance = weaker(provenance, v.provenance);
      const double seconds = op.flops / (peak16_ * v.value * stack_.attention_speed);
      attention_ = seconds;
      layer.forward.matmul += seconds;
      layer.backward.matmul += kFusedBackward * seconds;
      return;
    }
    const double products = 2 * product(2 * op.all_pairs * op.n * op.k, true);
    const double scores = op.all_pairs * op.n / memory_;
    attention_ = products;
    layer.forward.matmul += products;
    layer.forward.memory += kScoreBytes * scores;
    layer.backward.matmul += 2 * products;
    layer.backward.memory += kScoreBytesBackward * scores;
    if (!keeps_nothing) return;
    layer.again.matmul += products;
    layer.again.memory += kScoreBytes * scores;
  }

  void collective(const ops::OpCost& op, LayerBasis& layer) {
    const double bytes = op.elements * kBytes, tensor = plan_.tensor;
    if (op.axis == ops::Axis::kContext) {
      layer.forward += ring(bytes, attention_);
      // Keys and values go round once more, and their gradients with them.
      layer.backward += ring(2 * bytes, (stack_.fused_attention ? kFusedBackward : 2) * attention_);
      return;
    }
    Pass pass;
    if (op.axis == ops::Axis::kTensor) {
      pass = meet(op.collective, tensor, 1, bytes);
      // In as many pieces as ranks, all but one beside the products (NeMo's tp_comm_overlap).
      if (stack_.overlaps_tensor) pass.inside /= tensor;
    } else {
      // Experts are dealt to neighbours first when there are more of them than replicas.
      const double replicas = static_cast<double>(plan_.data) * plan_.context;
      pass = meet(op.collective, plan_.expert, plan_.expert > replicas ? 1 : tensor, bytes);
    }
    layer.forward += pass;
    // The adjoint moves as much: gather <-> reduce-scatter; without sequence parallelism the sum's adjoint is
    // nothing, and that of the (unwritten) copy before the product is a sum.
    layer.backward += pass;
  }

  /// `bytes` (of all ranks) go round: every rank sends a block to the next in each of n - 1 turns, while it
  /// attends to the block it has (arXiv 2310.01889); zigzag order makes the blocks' work even. All wait for
  /// the slowest link, so that a ring which leaves a domain goes at the pace of one NIC.
  Pass ring(double bytes, double attention) {
    const double ranks = plan_.context, stride = plan_.tensor, turns = ranks - 1;
    Pass pass;
    pass.collectives = turns;
    pass.ring_hidden = attention * turns / ranks;
    if (!fabric_.torus.sizes.empty()) {
      const Pass all = meet_on_torus(ops::Collective::kAllGather, ranks, stride, bytes);
      pass.ring_inside = all.inside + turns * kTorusHop;
      pass.ring_network = all.network;
    } else if (ranks * stride <= domain_) {
      provenance = weaker(provenance, Provenance::kExtrapolated);
      pass.ring_inside = turns * (kSendFloorInside + bytes / ranks / (kSendShareInside * inside_));
    } else {
      pass.ring_inside = turns * kSendFloor;
      pass.ring_network =
          network_seconds(fabric_, ops::Collective::kAllGather, ranks, stride, 1, bytes, nic_);
    }
    return pass;
  }

  const TrainingJob& job_;
  const spec::ParallelPlan& plan_;
  const Accelerator& a_;
  const Stack& stack_;
  const Fabric& fabric_;
  const Curves& curves_;
  double peak_ = 0, peak16_ = 0, memory_ = 0, domain_ = 1;
  double nic_ = 1, inside_ = 1;  ///< bytes/s; 1: nothing is sent so
  double attention_ = 0;         ///< forward seconds of the last attention, which stands before its ring
};

LayerBasis layer_basis(Pricer& pricer, const std::vector<ops::OpCost>& ops, double count,
                       const spec::ParallelPlan& plan, bool routed) {
  LayerBasis layer;
  if (count <= 0 || ops.empty()) return layer;
  layer.count = count;
  for (const ops::OpCost& op : ops) pricer.add(op, layer);
  layer.forward.launches = routed ? kExpertLaunches : 1;
  layer.backward.launches = kBackwardLaunches * layer.forward.launches;
  if (plan.recompute == spec::Recompute::kFull) layer.again = layer.forward;
  return layer;
}

double dense_layers(const spec::ModelConfig& model) {
  return static_cast<double>(model.experts.count > 0 ? model.experts.dense_layers : model.layers);
}

}  // namespace

Pass& Pass::operator+=(const Pass& o) {
  matmul += o.matmul, memory += o.memory, inside += o.inside, network += o.network;
  collectives += o.collectives, launches += o.launches;
  ring_inside += o.ring_inside, ring_network += o.ring_network, ring_hidden += o.ring_hidden;
  return *this;
}

double pass_seconds(const Pass& p, const Constants& c) {
  const auto at = [&](Constant name) { return c[static_cast<int>(name)]; };
  const double ring = p.ring_inside + p.ring_network / at(Constant::kNetwork);
  const double work = p.matmul * at(Constant::kCompute) + p.memory / at(Constant::kMemory) + p.inside +
                      p.network / at(Constant::kNetwork) +
                      std::max(0.0, ring - p.ring_hidden * at(Constant::kCompute));
  return std::max(work,
                  p.launches * at(Constant::kLayerFloor) + p.collectives * at(Constant::kCollectiveFloor));
}

LayerSeconds layer_seconds(const LayerBasis& layer, const Constants& c) {
  if (layer.count <= 0) return {};
  return {pass_seconds(layer.forward, c), pass_seconds(layer.again, c) + pass_seconds(layer.backward, c)};
}

LayerWork layer_work(const LayerBasis& layer, const Constants& c) {
  const auto alone = [&](Pass pass) {
    pass.inside = pass.network = pass.collectives = pass.ring_inside = pass.ring_network = 0;
    return pass_seconds(pass, c);
  };
  return {alone(layer.forward) + alone(layer.backward), alone(layer.again)};
}

base::Result<LayersBasis> layers_basis(const spec::ModelConfig& model, const BlockTrace& trace,
                                       const TrainingJob& job, const spec::ParallelPlan& plan,
                                       const Accelerator& accelerator, const Stack& stack,
                                       const Fabric& fabric) {
  TW_ASSIGN_OR_RETURN(Pricer pricer, Pricer::make(job, plan, accelerator, stack, fabric));
  const double layers = static_cast<double>(model.layers), dense = dense_layers(model);
  LayersBasis b;
  b.dense = layer_basis(pricer, trace.dense, dense, plan, false);
  b.expert = layer_basis(pricer, trace.expert, layers - dense, plan, true);
  LayerBasis head;
  for (const ops::OpCost& op : trace.head) pricer.add(op, head);
  b.head = head.forward;
  b.head += head.backward;
  // Tensor-parallel ranks send a slice each (arXiv 2104.04473, 4.1).
  const bool inside = static_cast<double>(plan.ranks()) <= pricer.domain();
  const double tokens = static_cast<double>(plan.micro_batch) * job.sequence / plan.context;
  const double bytes = tokens * model.width * kBytes / plan.tensor;
  (inside ? b.send_inside : b.send_network) = pricer.seconds_of_send(bytes, inside);
  b.provenance = pricer.provenance;
  return b;
}

namespace {

/// What a plan keeps in the host: `held` parameters are updated there (arXiv 2101.06840: gradients go down,
/// 16 bits of each, as they are made, and new parameters come up while the next are updated), `layer` and
/// `routed` parameters of a layer move in each micro-batch.
base::Status add_host(const spec::ParallelPlan& plan, const Accelerator& a, double held, double dense,
                      double expert, ReplicasBasis& b) {
  TW_ASSIGN_OR_RETURN(const Quantity line, a.get(Field::kHostLink));
  TW_ASSIGN_OR_RETURN(const Quantity memory, a.get(Field::kHostBandwidth));
  const double link = line.value * 1e9 * kHostShare, all = held * kBytes / link;
  const bool parameters = plan.offload == spec::Offload::kParameters;
  const double update = held * kOptimizerBytes / (memory.value * 1e9 * kHostShare);
  b.optimizer = std::max(update, parameters ? 0 : all);
  // Gradients that all replicas keep until their sum is known move in pieces beside the update.
  if (plan.zero < 2) return base::Ok{};
  const auto sharers = static_cast<double>(plan.sharers());
  b.dense_down = dense * kBytes / sharers / link, b.expert_down = expert * kBytes / sharers / link;
  if (parameters) b.dense_up = b.dense_down, b.expert_up = b.expert_down;
  return base::Ok{};
}

}  // namespace

base::Result<ReplicasBasis> replicas_basis(const spec::ModelConfig& model, const BlockTrace& trace,
                                           const TrainingJob& job, const spec::ParallelPlan& plan,
                                           const Accelerator& accelerator, const Stack& stack,
                                           const Fabric& fabric) {
  const double layers = static_cast<double>(model.layers), dense = dense_layers(model);
  const double own =
      (dense * trace.dense_parameters + (layers - dense) * trace.expert_parameters) / plan.pipeline +
      std::max(trace.embed_parameters, trace.head_parameters);
  const double routed = (layers - dense) * trace.routed_parameters / plan.pipeline;
  return stage_replicas_basis(model, trace, {own, routed}, job, plan, accelerator, stack, fabric);
}

base::Result<ReplicasBasis> stage_replicas_basis(const spec::ModelConfig& model, const BlockTrace& trace,
                                                 const StageParameters& of_stage, const TrainingJob& job,
                                                 const spec::ParallelPlan& plan,
                                                 const Accelerator& accelerator, const Stack& stack,
                                                 const Fabric& fabric) {
  TW_ASSIGN_OR_RETURN(Pricer pricer, Pricer::make(job, plan, accelerator, stack, fabric));
  const auto [own, routed] = of_stage;
  const auto replicas = static_cast<double>(plan.replicas()), sharers = static_cast<double>(plan.sharers());
  ReplicasBasis b;
  // Gradients of parameters of which every `apart`-th rank has a copy: summed by the `inner` that share them,
  // then each one's part over the groups (torch.distributed.fsdp's HYBRID_SHARD).
  Pass inside, between;
  const auto sum_up = [&](double apart, double copies, double inner, double parameters) {
    inside += pricer.meet(ops::Collective::kAllReduce, inner, apart, parameters * kBytes);
    between +=
        pricer.meet(ops::Collective::kAllReduce, copies / inner, apart * inner, parameters * kBytes / inner);
  };
  sum_up(plan.tensor, replicas, sharers, own);
  sum_up(plan.tensor * plan.expert, replicas / plan.expert, std::max(1.0, sharers / plan.expert), routed);
  b.groups_network = between.network, b.groups_inside = between.inside;
  if (plan.zero == 3) {
    const auto gather = [&](double parameters) {
      const Pass p = pricer.meet(ops::Collective::kAllGather, sharers, plan.tensor, parameters * kBytes);
      return p.network + p.inside;
    };
    b.dense_gather = gather(trace.dense_parameters);
    b.expert_gather = gather(trace.expert_parameters + trace.routed_parameters);
  } else {
    b.gradients_network = inside.network;
    b.gradients_inside = inside.inside;
  }
  const double held = (own + routed) / (plan.zero >= 1 ? sharers : 1);
  const MachineCurves* const m = accelerator.machine.get();
  b.optimizer = m != nullptr ? m->seconds(Measured::kOptimizer, {}, m->threads, 1, held, 1)
                             : held * kOptimizerBytes / (pricer.memory_rate() * 0.8);
  if (plan.offload != spec::Offload::kNone) {
    // The table and the head go with the layers.
    const double ends = std::max(trace.embed_parameters, trace.head_parameters) * plan.pipeline /
                        std::max(static_cast<double>(model.layers), 1.0);
    TW_RETURN_IF_ERROR(add_host(plan, accelerator, held, trace.dense_parameters + ends,
                                trace.expert_parameters + trace.routed_parameters + ends, b));
  }
  return b;
}

base::Result<StepBasis> step_basis(Tracer& tracer, const TrainingJob& job, const spec::ParallelPlan& plan,
                                   const Accelerator& accelerator, const Stack& stack, const Fabric& fabric) {
  TW_ASSIGN_OR_RETURN(const BlockTrace* trace,
                      tracer.get(plan_sharding(plan), {plan.micro_batch, job.sequence, 0}));
  StepBasis b;
  TW_ASSIGN_OR_RETURN(static_cast<LayersBasis&>(b),
                      layers_basis(tracer.model(), *trace, job, plan, accelerator, stack, fabric));
  TW_ASSIGN_OR_RETURN(static_cast<ReplicasBasis&>(b),
                      replicas_basis(tracer.model(), *trace, job, plan, accelerator, stack, fabric));
  b.layers = static_cast<double>(tracer.model().layers);
  b.pipeline = plan.pipeline;
  b.interleave = plan.interleave;
  b.micro_batches = static_cast<double>(plan.micro_batches(job.global_batch));
  b.zero = plan.zero;
  b.zero_bubble = plan.zero_bubble;
  b.overlaps_gradients = stack.overlaps_gradients;
  return b;
}

LayerSeconds beside_seconds(const StepBasis& b, bool expert, const Constants& c) {
  LayerSeconds s = layer_seconds(expert ? b.expert : b.dense, c);
  const double gather = (expert ? b.expert_gather : b.dense_gather) / c[static_cast<int>(Constant::kNetwork)];
  const double up = expert ? b.expert_up : b.dense_up, down = expert ? b.expert_down : b.dense_down;
  s.forward = std::max({s.forward, gather, up});
  s.backward = std::max({s.backward, 2 * gather, up, down});
  return s;
}

StepParts step_parts(const StepBasis& b, const Constants& c) {
  const double network = c[static_cast<int>(Constant::kNetwork)];
  const LayerSeconds dense = beside_seconds(b, false, c), expert = beside_seconds(b, true, c);
  StepParts p;
  p.all =
      b.dense.count * (dense.forward + dense.backward) + b.expert.count * (expert.forward + expert.backward);
  p.forward = b.dense.count * dense.forward + b.expert.count * expert.forward;
  p.head = pass_seconds(b.head, c);
  if (b.zero_bubble)
    p.weight = (b.dense.count * b.dense.weight + b.expert.count * b.expert.weight) *
               c[static_cast<int>(Constant::kCompute)];
  p.send = 2 * (b.send_network / network + b.send_inside + kSendFloor);
  p.reduction = b.gradients_network / network + b.gradients_inside;
  p.between = b.groups_network / network + b.groups_inside;
  p.optimizer = b.optimizer;
  p.rest = c[static_cast<int>(Constant::kStep)];
  p.layers = std::max(b.layers, 1.0);
  p.pipeline = b.pipeline, p.interleave = b.interleave, p.micro_batches = b.micro_batches;
  p.each_micro_batch = b.zero == 2 && b.micro_batches > 1;
  p.overlaps = b.overlaps_gradients;
  return p;
}

double step_seconds(const StepBasis& b, const Constants& c) {
  return step_formula(step_parts(b, c));
}

StepTime step_time(const StepBasis& b, const Constants& c, double total) {
  const StepParts p = step_parts(b, c);
  // What a rank of a middle stage does in all micro-batches; the rest of the formula is waiting.
  StepTime t;
  const double rounds = b.micro_batches / b.pipeline;
  double computing = 0, again = 0;
  for (const LayerBasis* layer : {&b.dense, &b.expert}) {
    const LayerWork work = layer_work(*layer, c);
    computing += layer->count * work.first;
    again += layer->count * work.again;
  }
  t.compute = computing * rounds + p.head * b.micro_batches / b.pipeline;
  t.recompute = again * rounds;
  StepBasis no_host = b;
  no_host.dense_up = no_host.expert_up = no_host.dense_down = no_host.expert_down = 0;
  const double all = step_parts(no_host, c).all;
  t.host = (p.all - all) * rounds;
  t.communication = std::max(0.0, all * rounds - computing * rounds - again * rounds);
  t.sends = b.pipeline > 1 ? p.send * b.interleave * b.micro_batches : 0;
  t.optimizer = p.optimizer;
  t.other = p.rest;
  StepParts without = p;
  without.reduction = without.between = 0;
  t.gradients = step_formula(p) - step_formula(without);
  t.bubble = std::max(0.0, total - t.total());
  return t;
}

}  // namespace tw::plan
