#include "plan/validate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "plan/advice.h"
#include "plan/fit.h"
#include "plan/statistics.h"

namespace tw::plan {
namespace {

/// A row's basis, or why there is none.
base::Result<StepBasis> basis_of(const TrainingRow& row) {
  if (!row.problem.empty()) return base::error(base::Code::kInvalidArgument, "{}", row.problem);
  TW_ASSIGN_OR_RETURN(const Accelerator* accelerator, Catalogue::shipped().find(row.accelerator));
  Tracer tracer(row.model);
  return step_basis(tracer, row.job, row.plan, *accelerator, stack_of(row.system));
}

/// What can be learnt from, by stack and by group.
using Samples = std::map<std::string, std::map<std::string, std::vector<Sample>>>;

Samples samples_of(const std::vector<TrainingRow>& known) {
  Samples samples;
  for (const TrainingRow& row : known) {
    if (!row.scored || !row.problem.empty()) continue;
    auto basis = basis_of(row);
    if (basis.ok()) samples[stack_of(row.system).name][row.group()].push_back({*basis, row.seconds});
  }
  return samples;
}

std::vector<const Sample*> all_but(const std::map<std::string, std::vector<Sample>>& groups,
                                   const std::string& left_out) {
  std::vector<const Sample*> result;
  for (const auto& [group, samples] : groups) {
    if (group == left_out) continue;
    for (const Sample& sample : samples) result.push_back(&sample);
  }
  return result;
}

/// Constants of stacks, fitted once for each group of rows that is left out.
class Fits {
 public:
  explicit Fits(const std::vector<TrainingRow>& known) : samples_(samples_of(known)) {}

  /// Of rows but the group's; null: there are fewer than `least`.
  const Constants* of(const std::string& stack, const std::string& left_out, std::size_t least = 1) {
    const auto learnt = samples_.find(stack);
    if (learnt == samples_.end()) return nullptr;
    const auto others = all_but(learnt->second, left_out);
    if (others.size() < least) return nullptr;
    const bool whole = !learnt->second.contains(left_out);
    auto [at, fresh] = fitted_.try_emplace({stack, whole ? std::string() : left_out}, kTypical);
    if (fresh) at->second = fit_constants(others);
    return &at->second;
  }

  /// Each the median of all stacks' but one.
  Constants medians(const std::string& but, const std::string& left_out) {
    std::vector<double> values[kConstants];
    for (const auto& [stack, groups] : samples_) {
      const Constants* c = stack == but ? nullptr : of(stack, left_out, kMedianRows);
      for (int i = 0; c != nullptr && i < kConstants; ++i) values[i].push_back((*c)[i]);
    }
    if (values[0].empty()) return kTypical;
    Constants result;
    for (int i = 0; i < kConstants; ++i) result[i] = median(values[i]);
    return result;
  }

 private:
  Samples samples_;
  std::map<std::pair<std::string, std::string>, Constants> fitted_;
};

/// Plans that differ by less than the model's own error are equal: of them the one with the fewest replicas,
/// which sends the fewest gradients between nodes and so relies least on what is known least.
constexpr double kTie = 0.03;

const Prediction* chosen(const std::vector<const Prediction*>& plans) {
  double least = plans[0]->seconds;
  for (const Prediction* p : plans) least = std::min(least, p->seconds);
  const Prediction* best = nullptr;
  const auto key = [](const Prediction* p) { return std::pair(p->row->plan.data, p->seconds); };
  for (const Prediction* p : plans) {
    if (p->seconds <= least * (1 + kTie) && (best == nullptr || key(p) < key(best))) best = p;
  }
  return best;
}

/// What the chosen plan costs more than the best measured one, over all jobs that were run in several ways.
std::vector<double> regrets(const std::vector<const Prediction*>& rows) {
  std::map<std::tuple<std::string, std::int64_t, double>, std::vector<const Prediction*>> jobs;
  for (const Prediction* p : rows)
    jobs[{p->row->model_name, p->row->job.global_batch, p->row->gpus}].push_back(p);
  std::vector<double> result;
  for (const auto& [job, plans] : jobs) {
    if (plans.size() < 2) continue;
    double best = plans[0]->row->seconds;
    for (const Prediction* p : plans) best = std::min(best, p->row->seconds);
    result.push_back(chosen(plans)->row->seconds / best - 1);
  }
  return result;
}

double time_on_accelerators(const Prediction& p, double seconds) {
  return seconds * p.row->gpus / static_cast<double>(p.row->job.global_batch);
}

/// Of SC21's Table 2: pairs of ZeRO-3 and 3-D runs of one model on about as many accelerators, and how many
/// of them come out in the measured order.
std::pair<int, int> ordered_pairs(const std::vector<const Prediction*>& rows) {
  int pairs = 0, right = 0;
  for (const Prediction* zero : rows) {
    if (!zero->row->system.starts_with("Megatron-LM SC21 Table 2 ZeRO-3")) continue;
    for (const Prediction* other : rows) {
      if (!other->row->system.starts_with("Megatron-LM SC21 Table 2 PTD") ||
          other->row->group() != zero->row->group() ||
          std::fabs(other->row->gpus / zero->row->gpus - 1) > 0.2)
        continue;
      ++pairs;
      const bool measured =
          time_on_accelerators(*zero, zero->row->seconds) > time_on_accelerators(*other, other->row->seconds);
      const bool predicted =
          time_on_accelerators(*zero, zero->seconds) > time_on_accelerators(*other, other->seconds);
      right += measured == predicted ? 1 : 0;
    }
  }
  return {pairs, right};
}

SetScore scored(SetScore score, const char* metric, double value, double target) {
  score.metric = metric;
  score.value = value;
  score.target = target;
  score.met = score.rows > score.unpredicted && value <= target;
  return score;
}

}  // namespace

std::vector<Prediction> predict_training(const std::vector<TrainingRow>& rows,
                                         const std::vector<TrainingRow>& known) {
  Fits fits(known);
  std::vector<Prediction> result;
  for (const TrainingRow& row : rows) {
    Prediction p;
    p.row = &row;
    const auto basis = basis_of(row);
    if (!basis.ok()) {
      p.problem = without_advice(basis.error().message);
      result.push_back(std::move(p));
      continue;
    }
    const std::string stack = stack_of(row.system).name, group = row.group();
    const Constants* of_stack = fits.of(stack, group);
    p.typical = of_stack == nullptr;
    p.seconds = step_seconds(*basis, p.typical ? fits.medians(stack, group) : *of_stack);
    result.push_back(std::move(p));
  }
  return result;
}

std::vector<SetScore> score_training(const std::vector<Prediction>& predictions) {
  std::vector<SetScore> scores;
  for (const char* set :
       {"training-multi-node", "training-single-node", "training-selene", "training-other"}) {
    SetScore base;
    base.set = set;
    std::vector<const Prediction*> rows;
    std::vector<double> errors;
    for (const Prediction& p : predictions) {
      if (p.row->set != set || !p.row->scored) continue;
      ++base.rows;
      if (!p.problem.empty()) {
        ++base.unpredicted;
        continue;
      }
      rows.push_back(&p);
      errors.push_back(100 * std::fabs(p.error()));
    }
    if (base.rows == 0) continue;
    const std::string name = set;
    if (name == "training-multi-node") {
      scores.push_back(scored(base, "MAPE %", mean(errors), 8));
      if (const auto lost = regrets(rows); !lost.empty())
        scores.push_back(scored(base, "mean regret %", 100 * mean(lost), 1.5));
    } else if (name == "training-single-node") {
      scores.push_back(scored(base, "MAPE %", mean(errors), 12));
    } else if (name == "training-selene") {
      scores.push_back(scored(base, "mean error %", mean(errors), 5));
      scores.push_back(scored(base, "largest error %",
                              errors.empty() ? 0 : *std::max_element(errors.begin(), errors.end()), 11));
    } else {
      scores.push_back(scored(base, "median error %", median(errors), 8));
      const auto [pairs, right] = ordered_pairs(rows);
      if (pairs > 0)
        scores.push_back(scored(base, "ZeRO-3 against 3-D, pairs in the wrong order", pairs - right, 0));
    }
  }
  return scores;
}

namespace {

/// What stacks without runs take, and the names of those with some.
struct Unmeasured {
  Constants constants;
  std::string names;
};
Unmeasured unmeasured(const std::vector<TrainingRow>& known) {
  const Samples samples = samples_of(known);
  Unmeasured u;
  for (const auto& [stack, groups] : samples) u.names += (u.names.empty() ? "" : ", ") + stack;
  u.constants = Fits(known).medians({}, {});
  return u;
}

}  // namespace

FittedStack fit_stack(const std::vector<TrainingRow>& known, const std::string& name) {
  FittedStack result;
  std::vector<Sample> samples;
  for (const TrainingRow& row : known) {
    Stack stack = stack_of(row.system);
    if (stack.name != name) continue;
    result.stack = std::move(stack);
    if (!row.scored || !row.problem.empty()) continue;
    if (auto basis = basis_of(row); basis.ok()) samples.push_back({*basis, row.seconds});
  }
  if (samples.empty()) {
    if (result.stack.name.empty()) result.stack = stack_of(name);
    result.stack.name = name;
    const Unmeasured typical = unmeasured(known);
    result.constants = typical.constants, result.measured = typical.names;
    return result;
  }
  std::vector<const Sample*> all;
  all.reserve(samples.size());
  for (const Sample& sample : samples) all.push_back(&sample);
  result.rows = static_cast<int>(all.size());
  result.constants = fit_constants(all);
  for (const Sample& s : samples)
    result.error +=
        std::fabs(step_seconds(s.basis, result.constants) / s.seconds - 1) / static_cast<double>(all.size());
  return result;
}

}  // namespace tw::plan
