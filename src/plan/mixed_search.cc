#include <numeric>

#include "plan/search_found.h"

namespace tw::plan {
namespace {

constexpr int kZeros = 4, kRecomputes = 3;

/// Of a stage's accelerators; the pipeline is what is left.
struct Division {
  spec::ParallelPlan plan;
  std::vector<int> micro_batches;
  double plans = 0;
};

std::vector<int> divisors(std::int64_t whole) {
  std::vector<int> result;
  for (std::int64_t d = 1; d <= whole; ++d) {
    if (whole % d == 0) result.push_back(static_cast<int>(d));
  }
  return result;
}

/// Every division whose stages lie on one kind each and that the model and the batch allow.
std::vector<Division> divisions_of(const Setting& s) {
  const spec::ModelConfig& model = s.model.config;
  const std::int64_t all = s.accelerators();
  const std::int64_t common = std::gcd(s.kinds[0].cluster.accelerators, s.kinds[1].cluster.accelerators);
  const std::vector<int> experts = divisors(std::max<std::int64_t>(model.experts.count, 1));
  std::vector<Division> result;
  for (const int wide : divisors(common)) {
    for (const int tensor : divisors(wide)) {
      for (const int context : divisors(wide / tensor)) {
        if (s.job.sequence % (std::int64_t{context} * tensor) != 0) continue;
        for (const int expert : experts) {
          Division d;
          d.plan.tensor = tensor, d.plan.context = context, d.plan.expert = expert;
          d.plan.data = wide / tensor / context, d.plan.pipeline = static_cast<int>(all / wide);
          d.plan.sequence = tensor > 1;
          if (!d.plan.validate(model, all, s.job.batch).ok() || !model.part(tensor, expert).ok()) continue;
          d.micro_batches = divisors(s.job.batch / d.plan.data);
          d.plans = static_cast<double>(d.micro_batches.size()) * kZeros * kRecomputes;
          result.push_back(std::move(d));
        }
      }
    }
  }
  return result;
}

class Worker {
 public:
  Worker(const Setting& s, const SearchOptions& options) : keep_(options.keep), planner_(s) {}

  void run(const Division& d) {
    if (auto status = run_division(d); !status.ok()) found.status = std::move(status);
  }
  Found found;

 private:
  base::Status run_division(const Division& d) {
    spec::ParallelPlan p = d.plan;
    for (const int micro_batch : d.micro_batches) {
      p.micro_batch = micro_batch;
      for (int r = 0; r < kRecomputes; ++r) {
        p.recompute = static_cast<spec::Recompute>(r);
        for (p.zero = 0; p.zero < kZeros; ++p.zero) {
          TW_ASSIGN_OR_RETURN(const MixedStep step, planner_.step(p));
          double most = 0;
          for (const PlacedStage& stage : step.stages) most = std::max(most, stage.memory.total());
          found.consider(p, step.seconds, most, step.fits(), keep_);
          found.computed += 1;
        }
      }
    }
    return base::Ok{};
  }

  const std::size_t keep_;
  MixedPlanner planner_;
};

}  // namespace

base::Result<SearchResult> search_mixed(const Setting& s, const SearchOptions& options, base::Team& team) {
  const std::vector<Division> divisions = divisions_of(s);
  double space = 0;
  for (const Division& d : divisions) space += d.plans;
  if (divisions.empty()) {
    return base::error(
        base::Code::kInvalidArgument,
        "no pipeline over {} x {} and {} x {} divides a batch of {} and sequences of {} tokens: "
        "powers of two would",
        s.kinds[0].cluster.accelerators, s.kinds[0].accelerator.name, s.kinds[1].cluster.accelerators,
        s.kinds[1].accelerator.name, s.job.batch, s.job.sequence);
  }
  std::vector<Worker> workers;
  workers.reserve(team.size());
  for (int i = 0; i < team.size(); ++i) workers.emplace_back(s, options);
  return run_workers(workers, divisions, space, options, team);
}

}  // namespace tw::plan
