#include "plan/search.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <tuple>

namespace tw::plan {
namespace {

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::vector<int> divisors(std::int64_t whole, std::int64_t most) {
  std::vector<int> result;
  for (std::int64_t d = 1; d <= std::min(whole, most); ++d) {
    if (whole % d == 0) result.push_back(static_cast<int>(d));
  }
  return result;
}

/// A total order, so that results do not depend on who found what first.
auto order(const FoundPlan& f) {
  const spec::ParallelPlan& p = f.plan;
  return std::tuple(f.seconds, f.bytes, p.tensor, p.pipeline, p.context, p.expert, p.micro_batch,
                    p.interleave, p.zero, p.shard, static_cast<int>(p.recompute));
}
bool before(const FoundPlan& a, const FoundPlan& b) {
  return order(a) < order(b);
}

/// What one worker found. Its size does not grow with the space.
struct Found {
  std::vector<FoundPlan> best;        ///< a heap, slowest on top
  std::map<double, FoundPlan> front;  ///< by seconds; bytes fall
  std::optional<FoundPlan> fastest_unfit;
  double computed = 0, skipped = 0, fit = 0;
  base::Status status = base::Ok{};

  bool among_best(double seconds, std::size_t keep) const {
    return best.size() < keep || seconds <= best.front().seconds;
  }
  bool on_front(double seconds, double bytes) const {
    auto after = front.upper_bound(seconds);
    return after == front.begin() || std::prev(after)->second.bytes > bytes;
  }
  void take(const FoundPlan& f, std::size_t keep) {
    if (among_best(f.seconds, keep)) {
      best.push_back(f);
      std::push_heap(best.begin(), best.end(), before);
      if (best.size() > keep) std::pop_heap(best.begin(), best.end(), before), best.pop_back();
    }
    take_front(f);
  }
  void take_front(const FoundPlan& f) {
    if (const auto same = front.find(f.seconds); same != front.end()) {
      if (before(f, same->second)) same->second = f;
    } else {
      if (!on_front(f.seconds, f.bytes)) return;
      front[f.seconds] = f;
    }
    for (auto it = front.upper_bound(f.seconds); it != front.end() && it->second.bytes >= f.bytes;)
      it = front.erase(it);
  }
};

/// A division of the model: traced once.
struct Division {
  int tensor = 1, context = 1, expert = 1;
  double plans = 0;
};

/// What replicas share.
struct Sharing {
  int zero = 0, shard = 0;
  ReplicasBasis basis;  ///< not of Space, which only counts
};

/// What the stages and replicas of a division are, for all its micro-batches.
struct Stages {
  int pipeline = 1, data = 1;
  bool near_experts = false;  ///< experts are dealt to neighbours (see Pricer)
  std::vector<int> interleave;
  std::vector<int> looked_at;     ///< stages of which one is the fullest
  std::vector<Sharing> sharings;  ///< ZeRO 0 to 3, and HSDP

  double variants() const { return kRecomputes * static_cast<double>(sharings.size()); }
  static constexpr int kRecomputes = 3;
};

class Space {
 public:
  explicit Space(const Setting& s) : s_(s), model_(s.model.config) {
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
      for (int zero = 0; zero < 4; ++zero) st.sharings.push_back({zero, 0, {}});
      for (const int shard : groups(d, replicas)) st.sharings.push_back({3, shard, {}});
      st.interleave = {1};
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
        sum += st.variants() * (can_interleave(st, mb) ? static_cast<double>(st.interleave.size()) : 1);
    }
    return sum;
  }
  const Setting& s_;
  const spec::ModelConfig& model_;
};

class Worker {
 public:
  Worker(const Setting& s, const Space& space, const SearchOptions& options, double capacity, bool bounds)
      : s_(s),
        space_(space),
        options_(options),
        capacity_(capacity),
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
        p.zero = sharing.zero, p.shard = sharing.shard;
        TW_ASSIGN_OR_RETURN(sharing.basis, replicas_basis(s_.model.config, **one, s_.training, p,
                                                          s_.accelerator, s_.stack.stack, s_.fabric));
      }
      p.zero = p.shard = 0;
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
  void consider(const spec::ParallelPlan& p, double seconds, double bytes);
  double bytes_of(const MemoryBasis& memory, const spec::ParallelPlan& p, const Stages& st, double m) const {
    if (s_.own_memory) {
      const auto own = s_.own_memory(p);
      return own.ok() ? own->total() : std::numeric_limits<double>::infinity();
    }
    double most = 0;
    for (const int stage : st.looked_at) most = std::max(most, stage_memory(memory, p, m, stage).total());
    return most;
  }

  const Setting& s_;
  const Space& space_;
  const SearchOptions& options_;
  const double capacity_;
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
  const double plans = st.variants() * static_cast<double>(pieces);
  if (bounds_) {
    const double least = least_bytes(p, st, memory, m);
    if (least > capacity_) {  // one of them tells why nothing fits, should nothing fit
      p.recompute = spec::Recompute::kNone, p.zero = 1, p.shard = 0, p.interleave = plain.interleave = 1;
      consider(p, step_formula(plain), bytes_of(memory, p, st, m));
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
      p.zero = sharing.zero, p.shard = sharing.shard;
      for (std::size_t i = 0; i < pieces; ++i) {
        p.interleave = st.interleave[i];
        part->interleave = p.interleave;
        consider(p, step_formula(*part), bytes_of(memory, p, st, m));
      }
      ++part;
    }
  }
}

void Worker::consider(const spec::ParallelPlan& p, double seconds, double bytes) {
  if (bytes > capacity_) {
    if (!found.fastest_unfit || seconds < found.fastest_unfit->seconds)
      found.fastest_unfit = {p, seconds, bytes};
    return;
  }
  found.fit += 1;
  if (!found.among_best(seconds, options_.keep) && !found.on_front(seconds, bytes)) return;
  found.take({p, seconds, bytes}, options_.keep);
}

/// No plan of the group holds less: everything shared and computed again, one piece a stage, and no buffers
/// of ZeRO-3.
double Worker::least_bytes(spec::ParallelPlan p, const Stages& st, const MemoryBasis& memory,
                           double m) const {
  p.recompute = spec::Recompute::kFull;
  p.interleave = 1;
  p.zero = 3, p.shard = 0;
  double bytes = 0;
  for (const int stage : st.looked_at) {
    const StageMemory held = stage_memory(memory, p, m, stage);
    bytes = std::max(bytes, held.total() - (1 + kFragmentation) * held.buffers);
  }
  return bytes;
}

/// Whether no plan of the group can be among the fastest or on the front. `parts`: nothing computed again,
/// ZeRO 1, whose optimizer is the fastest.
bool Worker::too_slow(const Stages& st, StepParts parts, double least) const {
  // Least time: the most pieces without their sends, nothing fetched, all gradients hidden.
  parts.reduction = parts.between = 0;
  parts.send = 0;
  parts.interleave = st.interleave.back();
  const double seconds = step_formula(parts);
  return !found.among_best(seconds, options_.keep) && !found.on_front(seconds, least);
}

Found merged(std::vector<Worker>& workers, std::size_t keep) {
  Found all;
  for (Worker& w : workers) {
    for (const FoundPlan& f : w.found.best) all.take(f, keep);
    for (const auto& [seconds, f] : w.found.front) all.take_front(f);
    const auto& unfit = w.found.fastest_unfit;
    if (unfit && (!all.fastest_unfit || before(*unfit, *all.fastest_unfit))) all.fastest_unfit = unfit;
    all.computed += w.found.computed, all.skipped += w.found.skipped, all.fit += w.found.fit;
    if (!w.found.status.ok()) all.status = std::move(w.found.status);
  }
  return all;
}

}  // namespace

base::Result<SearchResult> search(const Setting& s, const SearchOptions& options, base::Team& team) {
  TW_ASSIGN_OR_RETURN(const Quantity memory, s.memory());
  const Space space(s);
  SearchResult result;
  for (const Division& d : space.divisions) result.space += d.plans;
  if (result.space == 0) {
    return base::error(
        base::Code::kInvalidArgument,
        "no plan divides {} accelerators, a batch of {} and sequences of {} tokens: powers of two would",
        s.cluster.accelerators, s.job.batch, s.job.sequence);
  }
  // Bounds are of the general table of memory.
  const bool bounds = result.space > options.bounds_from && !s.own_memory;
  std::vector<Worker> workers;
  workers.reserve(team.size());
  for (int i = 0; i < team.size(); ++i) workers.emplace_back(s, space, options, memory.value, bounds);
  std::vector<double> seconds(team.size());
  std::atomic<std::size_t> next{0};
  std::atomic<double> done{0};
  team.run([&](int worker) {
    const double start = thread_seconds();
    for (std::size_t i = next++; i < space.divisions.size(); i = next++) {
      workers[worker].run(space.divisions[i]);
      done += space.divisions[i].plans;
      if (worker == 0 && options.progress) options.progress(done / result.space);
    }
    seconds[worker] = thread_seconds() - start;
  });
  Found all = merged(workers, options.keep);
  TW_RETURN_IF_ERROR(all.status);
  std::sort(all.best.begin(), all.best.end(), before);
  result.best = std::move(all.best);
  for (const auto& [at, f] : all.front) result.front.push_back(f);
  result.fastest_unfit = all.fastest_unfit;
  result.computed = all.computed, result.skipped = all.skipped, result.fit = all.fit;
  for (const double t : seconds) {
    result.cpu_seconds += t;
    result.busiest_seconds = std::max(result.busiest_seconds, t);
  }
  return result;
}

}  // namespace tw::plan
