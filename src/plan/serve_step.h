// The time of one serving step, in three parts: what a rank computes for each token (ServeCosts, from a
// trace), what a step of certain tokens takes of hardware (ServeStep), and what a stack's constants make of
// it.
#pragma once

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "plan/machine.h"
#include "plan/serve_stack.h"
#include "plan/trace.h"

namespace tw::plan {

/// How one instance of a model is divided.
struct ServeSplit {
  int tensor = 1, pipeline = 1;
  int expert = 1;     ///< ranks that experts are dealt to
  int attention = 1;  ///< groups of ranks that each serve their own requests, with all experts between them
  int ranks() const { return std::max(tensor * attention, expert) * pipeline; }
  auto operator<=>(const ServeSplit&) const = default;
};

/// What is computed in a step, by one group of ranks.
struct StepLoad {
  double answers = 0;       ///< sequences that get their next token
  double cached = 0;        ///< tokens in the cache of all of them
  double prompts = 0;       ///< tokens of prompts
  double prompt_pairs = 0;  ///< (query, key) of them
  double prompt_seen = 0;   ///< mean number of keys that these sequences reach: the curve's place
  double graph_tokens = 0;  ///< up to so many in all a step with prompts is launched as one graph, too
};

/// Seconds when all constants are one.
struct ServeStep {
  double products = 0, prompt_products = 0;  ///< of steps without prompts and with them
  double memory = 0, network = 0;
  double collectives = 0, answers = 0;
  double launches = 0;  ///< of layers, in a step with prompts
};
double serve_seconds(const ServeStep& step, const ServeConstants& constants);
/// What the launches of a step with prompts take.
inline double launch_seconds(const ServeStep& step, const ServeConstants& constants) {
  return step.launches * constants[static_cast<int>(ServeConstant::kLaunch)];
}

/// An op of one token that meets one other in the cache (all that grows with tokens is linear in them), and
/// how many there are: what a calibrated machine's curves are asked for.
struct MachineOp {
  ops::OpCost op;
  double count = 1;
  std::string type;   ///< of a product's weight
  bool head = false;  ///< of rows whose logits are wanted
};

class ServeCosts {
 public:
  /// Fails when the model does not divide, or naming the number that the catalogue lacks.
  static base::Result<ServeCosts> make(Tracer& tracer, const ServeSplit& split,
                                       const Accelerator& accelerator, Precision precision,
                                       double cache_bytes);

  ServeStep step(const StepLoad& load);
  /// What prompts add to a step that runs anyway.
  ServeStep added(const StepLoad& prompts);

  const ServeSplit& split() const { return split_; }
  double weight_bytes() const { return weights_; }       ///< of the fullest rank
  double cache_bytes() const { return cache_; }          ///< of a token, in a rank
  double framework_bytes() const;                        ///< of context and libraries
  Provenance provenance() const { return provenance_; }  ///< the least sure curve that was used so far

 private:
  struct Product {
    double count = 0, weights = 0;  ///< how many, and elements of one
    double experts = 0;             ///< of this rank, whose weights are these each; 0: an ordinary product
    bool sixteen = false;           ///< stays in 16 bits
    bool answers = false;           ///< of rows whose logits are wanted
  };
  explicit ServeCosts(const Accelerator& accelerator) : a_(accelerator) {}
  double bytes_of(const Product& product) const;
  void add(const ops::OpCost& op, double count);
  void collect(const ops::OpCost& op, double count);
  base::Status take_machine(const spec::ModelConfig& model, const BlockTrace& trace);
  double product_seconds(double rows, double wanted);
  double experts_seconds(const Product& product, double rows);
  double network_seconds(double rows);
  base::Status join_stages(const spec::ModelConfig& model);

  Accelerator a_;
  Precision precision_ = Precision::kBf16;
  ServeSplit split_;
  std::vector<Product> products_;
  std::vector<MachineOp> machine_ops_;  ///< of a calibrated machine, which needs nothing else
  double layers_ = 0, launches_ = 0;
  double experts_ = 0, chosen_ = 0;     ///< experts: of all ranks
  double rows_ = 0;                     ///< bytes of row ops, a token
  double pair_flops_ = 0;               ///< of attention, for a (query, key)
  double sums_ = 0, sum_elements_ = 0;  ///< over tensor-parallel ranks; elements of each, a token
  double exchanges_ = 0, exchange_elements_ = 0;
  double stage_sends_ = 0, stage_seconds_ = 0;  ///< between stages: latency, and of a token
  double weights_ = 0, cache_ = 0;
  double peak16_ = 0, peak_ = 0, memory_ = 0;
  Provenance provenance_ = Provenance::kMeasured;
  std::unordered_map<std::int64_t, std::pair<double, double>> known_;  ///< products and network, by tokens
};

}  // namespace tw::plan
