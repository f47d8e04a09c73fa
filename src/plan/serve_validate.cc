#include "plan/serve_validate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "plan/serve_fit.h"
#include "plan/statistics.h"

namespace tw::plan {
namespace {

/// What rows of one deployment share, made once.
class Deployments {
 public:
  base::Result<ServeCosts*> get(const ServingRow& row, const ServeStack& stack, const ServeSplit& split) {
    const double cache = stack.cache_bytes(row.precision, *row.accelerator);
    const Key key{row.model, split, row.accelerator, row.precision, cache};
    if (const auto found = known_.find(key); found != known_.end()) return found->second.get();
    auto& tracer = tracers_[row.model];
    if (tracer == nullptr) tracer = std::make_unique<Tracer>(row.model->config);
    TW_ASSIGN_OR_RETURN(ServeCosts costs,
                        ServeCosts::make(*tracer, split, *row.accelerator, row.precision, cache));
    return (known_[key] = std::make_unique<ServeCosts>(std::move(costs))).get();
  }

 private:
  using Key = std::tuple<const PlannedModel*, ServeSplit, const Accelerator*, Precision, double>;
  std::map<const PlannedModel*, std::unique_ptr<Tracer>> tracers_;
  std::map<Key, std::unique_ptr<ServeCosts>> known_;
};

base::Result<double> memory_of(const Accelerator& a) {
  TW_ASSIGN_OR_RETURN(const Quantity gb, a.get(Field::kMemory));
  return gb.value * kCatalogueGb;
}

ServeSamples samples_of(const std::vector<ServingRow>& known, Deployments& deployments) {
  ServeSamples samples;
  for (const ServingRow& row : known) {
    if (!row.scored || row.output_token <= 0 || row.set == "serve-mlperf") continue;
    const ServeStack stack = serve_stack_of(row.system);
    const auto costs = deployments.get(row, stack, row.split);
    const auto memory = memory_of(*row.accelerator);
    if (!costs.ok() || !memory.ok()) continue;
    samples[stack.name][row.group()].push_back(
        {serve_basis(**costs, stack, row.load, *memory), row.output_token,
         row.load.shortest < 1 && row.load.concurrency <= 64 ? row.first_token : 0});
  }
  return samples;
}

/// Fitted constants by stack and by what was left out.
class Fits {
 public:
  explicit Fits(const ServeSamples& samples) : samples_(samples) {}
  ServeConstants get(const std::string& stack, const std::string& left_out, bool* typical) {
    const auto others = others_of(samples_, stack, left_out);
    *typical = others.empty();
    const auto [at, fresh] = known_.try_emplace({*typical ? "" : stack, left_out});
    if (fresh) at->second = *typical ? median_stack(samples_, left_out) : fit_serving(others);
    return at->second;
  }

 private:
  const ServeSamples& samples_;
  std::map<std::pair<std::string, std::string>, ServeConstants> known_;
};

/// Benchmarks run about ten times as many requests as are in flight (InferenceX; aiperf's users).
int requests_of(const ServeLoad& load) {
  return static_cast<int>(std::clamp(10 * load.concurrency, 10.0, 1e9));
}

base::Status predict_row(const ServingRow& row, Deployments& deployments, Fits& fits, ServePrediction& p) {
  const ServeStack stack = serve_stack_of(row.system);
  TW_ASSIGN_OR_RETURN(ServeCosts * costs, deployments.get(row, stack, row.split));
  TW_ASSIGN_OR_RETURN(const double memory, memory_of(*row.accelerator));
  if (cache_tokens(*costs, memory) < row.load.input + row.load.output)
    return base::error(base::Code::kResourceExhausted, "it does not fit in the accelerators' memory");
  const ServeConstants c = fits.get(stack.name, row.group(), &p.typical);
  p.closed = output_token_seconds(serve_basis(*costs, stack, row.load, memory), c);
  const Served served = simulate_serving(*costs, stack, c, row.load, memory, requests_of(row.load));
  p.simulated = served.output_token, p.first_token = served.first_token;
  p.curves = costs->provenance();
  return base::Ok{};
}

/// All requests are there at once: the division of the accelerators that gives most tokens, in batches as
/// large as the cache allows.
base::Status predict_offline(const ServingRow& row, Deployments& deployments, Fits& fits,
                             ServePrediction& p) {
  // NVIDIA's partners submit TensorRT-LLM; AMD's, and who says so, vLLM.
  const bool vllm = row.accelerator->vendor != "NVIDIA" || row.system.find("vLLM") != std::string::npos;
  const ServeStack stack = serve_stack_of(vllm ? "vllm" : "trtllm");
  TW_ASSIGN_OR_RETURN(const double memory, memory_of(*row.accelerator));
  const ServeConstants c = fits.get(stack.name, {}, &p.typical);
  constexpr double kMostRunning = 2048;
  base::Status reason = base::error(base::Code::kResourceExhausted, "it does not fit in any division");
  for (const int tensor : {1, 2, 4, 8}) {
    if (static_cast<int>(row.accelerators) % tensor != 0) continue;
    ServeSplit split;
    split.tensor = tensor;
    const auto costs = deployments.get(row, stack, split);
    if (!costs.ok()) {
      reason = costs.error();
      continue;
    }
    ServeLoad load = row.load;
    load.concurrency = kMostRunning;
    if (cache_tokens(**costs, memory) < load.input + load.output) continue;
    const ServeBasis b = serve_basis(**costs, stack, load, memory);
    const double step = serve_seconds(b.answers, c) + b.batch / b.output * prompt_seconds(b.prompt, c);
    p.tokens_per_second = std::max(p.tokens_per_second, b.batch / step * row.accelerators / tensor);
    p.curves = (*costs)->provenance();
  }
  return p.tokens_per_second > 0 ? base::Status(base::Ok{}) : reason;
}

double off(double predicted, double measured) {
  return 100 * std::fabs(predicted / measured - 1);
}

SetScore scored(SetScore s, const char* metric, double value, double target) {
  s.metric = metric, s.value = value, s.target = target;
  s.met = s.rows > s.unpredicted && value <= target;
  return s;
}

}  // namespace

std::vector<ServePrediction> predict_serving(const std::vector<ServingRow>& rows,
                                             const std::vector<ServingRow>& known) {
  Deployments deployments;
  const ServeSamples samples = samples_of(known, deployments);
  Fits fits(samples);
  std::vector<ServePrediction> result;
  result.reserve(rows.size());
  for (const ServingRow& row : rows) {
    ServePrediction p;
    p.row = &row;
    p.problem = row.problem;
    if (p.problem.empty() && row.scored) {
      const auto status = row.set == "serve-mlperf" ? predict_offline(row, deployments, fits, p)
                                                    : predict_row(row, deployments, fits, p);
      if (!status.ok()) p.problem = status.error().message;
    }
    result.push_back(std::move(p));
  }
  return result;
}

std::vector<SetScore> score_serving(const std::vector<ServePrediction>& predictions) {
  std::vector<SetScore> scores;
  SetScore first;
  first.set = "serve-ttft";
  std::vector<double> first_errors;
  for (const char* set : {"serve-dense", "serve-moe"}) {
    SetScore base;
    base.set = set;
    std::vector<double> closed, simulated;
    for (const ServePrediction& p : predictions) {
      if (p.row->set != set || !p.row->scored) continue;
      ++base.rows, ++first.rows;
      if (!p.problem.empty()) {
        ++base.unpredicted, ++first.unpredicted;
        continue;
      }
      closed.push_back(off(p.closed, p.row->output_token));
      simulated.push_back(off(p.simulated, p.row->output_token));
      if (p.row->first_token > 0)
        first_errors.push_back(off(p.first_token, p.row->first_token));
      else
        ++first.unpredicted;
    }
    if (base.rows == 0) continue;
    const bool dense = std::string(set) == "serve-dense";
    scores.push_back(scored(base, "TPOT MAPE %, closed form", mean(closed), dense ? 14 : 20));
    scores.push_back(scored(base, "TPOT MAPE %, simulated", mean(simulated), dense ? 10 : 20));
  }
  if (first.rows > 0)
    scores.push_back(scored(first, "TTFT median error %, simulated", median(first_errors), 30));
  SetScore offline;
  offline.set = "serve-mlperf";
  std::map<std::string, std::vector<double>> kinds;
  std::vector<double> all;
  for (const ServePrediction& p : predictions) {
    if (p.row->set != offline.set || !p.row->scored) continue;
    ++offline.rows;
    if (!p.problem.empty()) {
      ++offline.unpredicted;
      continue;
    }
    all.push_back(off(p.tokens_per_second, p.row->tokens_per_second));
    kinds[p.row->accelerator->name + " " + p.row->scenario].push_back(all.back());
  }
  if (offline.rows == 0) return scores;
  double worst = 0;
  for (const auto& [kind, errors] : kinds) worst = std::max(worst, median(errors));
  scores.push_back(scored(offline, "median error %", median(all), 15));
  scores.push_back(scored(offline, "largest median of an accelerator and round %", worst, 15));
  return scores;
}

FittedServing fit_serving_stack(const std::vector<ServingRow>& known, const std::string& name) {
  Deployments deployments;
  const ServeSamples samples = samples_of(known, deployments);
  FittedServing result;
  result.stack = serve_stack_of(name);
  const auto all = others_of(samples, result.stack.name, {});
  result.rows = static_cast<int>(all.size());
  result.constants = all.empty() ? median_stack(samples, {}) : fit_serving(all);
  for (const ServeSample* s : all)
    result.error += std::fabs(output_token_seconds(s->basis, result.constants) / s->seconds - 1) /
                    static_cast<double>(all.size());
  return result;
}

}  // namespace tw::plan
