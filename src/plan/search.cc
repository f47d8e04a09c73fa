#include "plan/search.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>

#include "plan/search_found.h"

namespace tw::plan {
namespace {

std::vector<int> divisors(std::int64_t whole, std::int64_t most) {
  std::vector<int> result;
  for (std::int64_t d = 1; d <= std::min(whole, most); ++d) {
    if (whole % d == 0) result.push_back(static_cast<int>(d));
  }
  return result;
}

/// A division of the model: traced once.
struct Division {
  int tensor = 1, context = 1, expert = 1;
  double plans = 0;
};

/// What replicas share, and what of it lives in the hosts.
struct Sharing {
  int zero = 0, shard = 0;
  spec::Offload offload = spec::Offload::kNone;
  ReplicasBasis basis;  ///< not of Space, which only counts
};

/// What the stages and replicas of a division are, for all its micro-batches.
struct Stages {
  int pipeline = 1, data = 1;
  bool near_experts = false;  ///< experts are dealt to neighbours (see Pricer)
  std::vector<int> interleave;
  std::vector<int> looked_at;     ///< stages of which one is the fullest
  std::vector<Sharing> sharings;  ///< ZeRO 0 to 3, HSDP, and those that offload

  bool zero_bubble = false;  ///< is tried besides

  double variants() const { return kRecomputes * static_cast<double>(sharings.size()); }
  /// Schedules of so many numbers of pieces.
  double schedules(std::size_t pieces) const { return static_cast<double>(pieces) + (zero_bubble ? 1 : 0); }
  static constexpr int kRecomputes = 3;
};

class Space {
 public:
  Space(const Setting& s, bool zero_bubble)
      : s_(s), model_(s.model.config), host_(s.host_memory()), zero_bubble_(zero_bubble) {
    const std::int64_t n = s.cluster.accelerators;
    for (const int tensor : divisors(n, model_.heads)) {
      if (model_.heads % tensor != 0 || model_.ffn_width % tensor != 0) continue;
      for (const int context : divisors(n / tensor, s.job.sequence)) {
        if (s.job.sequence % (std::int64_t{context} * tensor) != 0) continue;
        for (const int expert : divisors(std::max<std::int64_t>(model_.experts.count, 1), n)) {
          if (!model_.part(tensor, expert).ok()) continue;
          Division d{tensor, context, expert, 0};
          d.plans = count(d);
          if (d.plans > 0) divisions.push_back(d);
        }
      }
    }
    // Large pieces of work first, so that workers end together; equal ones as they were made.
    std::sort(divisions.begin(), divisions.end(), [](const Division& a, const Division& b) {
      return std::tuple(-a.plans, a.tensor, a.context, a.expert) <
             std::tuple(-b.plans, b.tensor, b.context, b.expert);
    });
  }

  std::vector<Stages> stages_of(const Division& d) const {
    std::vector<Stages> result;
    const std::int64_t rest = s_.cluster.accelerators / (std::int64_t{d.tensor} * d.context);
    for (const int pipeline : divisors(rest, model_.layers)) {
      Stages st;
      st.pipeline = pipeline;
      st.data = static_cast<int>(rest / pipeline);
      const std::int64_t replicas = std::int64_t{st.data} * d.context;
      if (s_.job.batch % st.data != 0 || (replicas * d.tensor) % d.expert != 0) continue;
      st.near_experts = d.expert > replicas;
      constexpr auto kNone = spec::Offload::kNone, kOptimizer = spec::Offload::kOptimizer;
      for (int zero = 0; zero < 4; ++zero) st.sharings.push_back({zero, 0, kNone, {}});
      for (const int shard : groups(d, replicas)) st.sharings.push_back({3, shard, kNone, {}});
      if (host_.ok()) {
        for (const int zero : {2, 3}) st.sharings.push_back({zero, 0, kOptimizer, {}});
        st.sharings.push_back({3, 0, spec::Offload::kParameters, {}});
      }
      st.interleave = {1};
      st.zero_bubble = zero_bubble_ && pipeline > 1;
      for (int v = 2; pipeline > 1 && std::int64_t{pipeline} * v <= model_.layers; ++v) {
        if (model_.layers % (std::int64_t{pipeline} * v) == 0) st.interleave.push_back(v);
      }
      // The first holds most in flight; of a mixture, the first without dense layers; the last has the
      // logits.
      const std::int64_t few = std::max<std::int64_t>(1, model_.layers / pipeline);
      const std::int64_t dense = model_.experts.count > 0 ? (model_.experts.dense_layers + few - 1) / few : 0;
      for (int stage = 0; stage <= std::min<std::int64_t>(dense, pipeline - 1); ++stage)
        st.looked_at.push_back(stage);
      if (st.looked_at.back() != pipeline - 1) st.looked_at.push_back(pipeline - 1);
      result.push_back(std::move(st));
    }
    return result;
  }
  std::vector<int> micro_batches(const Stages& st) const {
    return divisors(s_.job.batch / st.data, s_.job.batch / st.data);
  }
  bool can_interleave(const Stages& st, int micro_batch) const {
    return s_.job.batch / st.data / micro_batch % st.pipeline == 0;
  }

  std::vector<Division> divisions;

 private:
  /// Sizes of groups in which ZeRO-3 shares: those that fill whole scale-up domains, for within one there is
  /// nothing to be had from copies, and a part of one leaves links idle.
  std::vector<int> groups(const Division& d, std::int64_t replicas) const {
    const auto domain = static_cast<std::int64_t>(s_.accelerator[Field::kScaleUpDomain].value_or(1));
    const std::int64_t least = domain / std::gcd(domain, std::int64_t{d.tensor});
    std::vector<int> result;
    for (std::int64_t shard = least; shard < replicas; shard += least) {
      if (shard == 1 || replicas % shard != 0) continue;
      if (d.expert == 1 || shard * d.tensor % d.expert == 0) result.push_back(static_cast<int>(shard));
    }
    return result;
  }
  double count(const Division& d) const {
    double sum = 0;
    for (const Stages& st : stages_of(d)) {
      for (const int mb : micro_batches(st))
        sum += st.variants() * st.schedules(can_interleave(st, mb) ? st.interleave.size() : 1);
    }
    return sum;
  }
  const Setting& s_;
  const spec::ModelConfig& model_;
  const base::Result<Quantity> host_;
  const bool zero_bubble_;
};

class Worker {
 public:
  Worker(const Setting& s, const Space& space, const SearchOptions& options, double capacity, bool bounds)
      : s_(s),
        space_(space),
        options_(options),
        capacity_(capacity),
        host_capacity_(s.host_memory().ok() ? s.host_memory()->value : 0),
        bounds_(bounds),
        tracer_(s.model.config) {}

  void run(const Division& d) {
    if (auto status = run_division(d); !status.ok()) found.status = std::move(status);
  }
  Found found;

 private:
  base::Status run_division(const Division& d) {
    spec::ParallelPlan p;
    p.tensor = d.tensor, p.context = d.context, p.expert = d.expert, p.sequence = d.tensor > 1;
    const auto one = tracer_.get(plan_sharding(p), {1, s_.job.sequence, 0});
    if (!one.ok()) return one.error();
    std::vector<Stages> stages = space_.stages_of(d);
    std::map<int, std::vector<Stages*>> by_micro_batch;
    for (Stages& st : stages) {
      p.pipeline = st.pipeline, p.data = st.data;
      for (Sharing& sharing : st.sharings) {
        set(sharing, p);
        TW_ASSIGN_OR_RETURN(sharing.basis, replicas_basis(s_.model.config, **one, s_.training, p,
                                                          s_.accelerator, s_.stack.stack, s_.fabric));
      }
      set({}, p);
      for (const int mb : space_.micro_batches(st)) by_micro_batch[mb].push_back(&st);
    }
    for (const auto& [mb, list] : by_micro_batch) {
      p.micro_batch = mb;
      TW_RETURN_IF_ERROR(run_micro_batch(p, list));
    }
    return base::Ok{};
  }
  /// By recomputation, and of each by what is shared.
  using Parts = std::vector<StepParts>;

  base::Status run_micro_batch(spec::ParallelPlan p, const std::vector<Stages*>& list);
  void fill_parts(const LayersBasis (&layers)[3], const Stages& st, double micro_batches, Parts& parts) const;
  void run_stages(spec::ParallelPlan p, const Stages& st, const MemoryBasis& memory, Parts& parts);
  double least_bytes(spec::ParallelPlan p, const Stages& st, const MemoryBasis& memory, double m) const;
  bool too_slow(const Stages& st, StepParts parts, double least) const;
  static void set(const Sharing& sharing, spec::ParallelPlan& p) {
    p.zero = sharing.zero, p.shard = sharing.shard, p.offload = sharing.offload;
  }
  /// Of the fullest rank and of the fullest host.
  struct Held {
    double bytes = 0, host = 0;
  };
  void consider(const spec::ParallelPlan& p, double seconds, const Held& held);
  Held held_by(const MemoryBasis& memory, const spec::ParallelPlan& p, const Stages& st, double m) const {
    if (s_.own_memory) {
      const auto own = s_.own_memory(p);
      return {own.ok() ? own->total() : std::numeric_limits<double>::infinity(), 0};
    }
    Held most;
    for (const int stage : st.looked_at) {
      const StageMemory of = stage_memory(memory, p, m, stage);
      most.bytes = std::max(most.bytes, of.total()), most.host = std::max(most.host, of.host());
    }
    return most;
  }

  const Setting& s_;
  const Space& space_;
  const SearchOptions& options_;
  const double capacity_, host_capacity_;
  const bool bounds_;
  Tracer tracer_;
};

base::Status Worker::run_micro_batch(spec::ParallelPlan p, const std::vector<Stages*>& list) {
  const spec::ModelConfig& model = s_.model.config;
  TW_ASSIGN_OR_RETURN(const BlockTrace* trace,
                      tracer_.get(plan_sharding(p), {p.micro_batch, s_.job.sequence, 0}));
  const MemoryBasis memory = memory_basis(model, *trace, s_.training, p, s_.stack.stack);
  LayersBasis layers[2][3];
  bool known[2] = {false, false};
  Parts parts;
  for (const Stages* st : list) {
    p.data = st->data, p.pipeline = st->pipeline;
    const int near = st->near_experts ? 1 : 0;
    for (int r = 0; r < 3 && !known[near]; ++r) {
      p.recompute = static_cast<spec::Recompute>(r);
      TW_ASSIGN_OR_RETURN(layers[near][r], layers_basis(model, *trace, s_.training, p, s_.accelerator,
                                                        s_.stack.stack, s_.fabric));
    }
    known[near] = true;
    const auto m = static_cast<double>(p.micro_batches(s_.job.batch));
    fill_parts(layers[near], *st, m, parts);
    run_stages(p, *st, memory, parts);
  }
  tracer_.forget();
  return base::Ok{};
}

void Worker::fill_parts(const LayersBasis (&layers)[3], const Stages& st, double micro_batches,
                        Parts& parts) const {
  StepBasis b;
  b.layers = static_cast<double>(s_.model.config.layers);
  b.pipeline = st.pipeline;
  b.micro_batches = micro_batches;
  b.overlaps_gradients = s_.stack.stack.overlaps_gradients;
  b.zero_bubble = st.zero_bubble;
  parts.clear();
  for (int r = 0; r < Stages::kRecomputes; ++r) {
    static_cast<LayersBasis&>(b) = layers[r];
    for (const Sharing& sharing : st.sharings) {
      static_cast<ReplicasBasis&>(b) = sharing.basis;
      b.zero = sharing.zero;
      parts.push_back(step_parts(b, s_.stack.constants));
    }
  }
}

void Worker::run_stages(spec::ParallelPlan p, const Stages& st, const MemoryBasis& memory, Parts& parts) {
  StepParts& plain = parts[1];  // nothing is computed again, ZeRO 1
  const double m = plain.micro_batches;
  const std::size_t pieces = space_.can_interleave(st, p.micro_batch) ? st.interleave.size() : 1;
  const double plans = st.variants() * st.schedules(pieces);
  if (bounds_) {
    const double least = least_bytes(p, st, memory, m);
    if (least > capacity_) {  // one of them tells why nothing fits, should nothing fit
      p.recompute = spec::Recompute::kNone, p.interleave = plain.interleave = 1;
      set(st.sharings[1], p);
      StepParts one = plain;
      one.weight = 0;
      consider(p, step_formula(one), held_by(memory, p, st, m));
    }
    if (least > capacity_ || too_slow(st, plain, least)) {
      found.skipped += plans;
      return;
    }
  }
  found.computed += plans;
  auto part = parts.begin();
  for (int r = 0; r < Stages::kRecomputes; ++r) {
    p.recompute = static_cast<spec::Recompute>(r);
    for (const Sharing& sharing : st.sharings) {
      set(sharing, p);
      if (st.zero_bubble) {
        p.interleave = 1, p.zero_bubble = true;
        part->interleave = 1;
        consider(p, step_formula(*part), held_by(memory, p, st, m));
        p.zero_bubble = false;
      }
      part->weight = 0;
      for (std::size_t i = 0; i < pieces; ++i) {
        p.interleave = st.interleave[i];
        part->interleave = p.interleave;
        consider(p, step_formula(*part), held_by(memory, p, st, m));
      }
      ++part;
    }
  }
}

void Worker::consider(const spec::ParallelPlan& p, double seconds, const Held& held) {
  const bool fits = held.bytes <= capacity_ && held.host <= host_capacity_;
  found.consider(p, seconds, held.bytes, fits, options_.keep);
}

/// No plan of the group holds less: everything shared, in the hosts if they are known, and computed again,
/// one piece a stage, and no buffers of ZeRO-3.
double Worker::least_bytes(spec::ParallelPlan p, const Stages& st, const MemoryBasis& memory,
                           double m) const {
  p.recompute = spec::Recompute::kFull;
  p.interleave = 1;
  set({3, 0, host_capacity_ > 0 ? spec::Offload::kParameters : spec::Offload::kNone, {}}, p);
  double bytes = 0;
  for (const int stage : st.looked_at) {
    const StageMemory held = stage_memory(memory, p, m, stage);
    bytes = std::max(bytes, held.total() - (1 + kFragmentation) * held.buffers);
  }
  return bytes;
}

/// Whether no plan of the group can be among the fastest or on the front. `parts`: nothing computed again,
/// ZeRO 1.
bool Worker::too_slow(const Stages& st, StepParts parts, double least) const {
  // Least time: the most pieces without their sends, nothing fetched, all gradients hidden.
  parts.reduction = parts.between = 0;
  for (const Sharing& sharing : st.sharings)
    parts.optimizer = std::min(parts.optimizer, sharing.basis.optimizer);
  parts.send = 0;
  StepParts one = parts;  // stages of one piece, which fill their bubbles
  one.interleave = 1;
  parts.interleave = st.interleave.back();
  parts.weight = 0;
  const double seconds =
      st.zero_bubble ? std::min(step_formula(parts), step_formula(one)) : step_formula(parts);
  return !found.among_best(seconds, options_.keep) && !found.on_front(seconds, least);
}

}  // namespace

base::Result<SearchResult> search(const Setting& s, const SearchOptions& options, base::Team& team) {
  if (s.mixed() && options.zero_bubble)
    return base::error(base::Code::kInvalidArgument,
                       "zero-bubble schedules are not planned over two kinds of accelerator: leave it away");
  if (s.mixed()) return search_mixed(s, options, team);
  TW_ASSIGN_OR_RETURN(const Quantity memory, s.memory());
  const Space space(s, options.zero_bubble);
  double all = 0;
  for (const Division& d : space.divisions) all += d.plans;
  if (all == 0) {
    return base::error(
        base::Code::kInvalidArgument,
        "no plan divides {} accelerators, a batch of {} and sequences of {} tokens: powers of two would",
        s.cluster.accelerators, s.job.batch, s.job.sequence);
  }
  // Bounds are of the general table of memory.
  const bool bounds = all > options.bounds_from && !s.own_memory;
  std::vector<Worker> workers;
  workers.reserve(team.size());
  for (int i = 0; i < team.size(); ++i) workers.emplace_back(s, space, options, memory.value, bounds);
  return run_workers(workers, space.divisions, all, options, team);
}

}  // namespace tw::plan
