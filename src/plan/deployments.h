// What predictions of serving rows share: the costs of each deployment, and constants fitted without one of
// them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "plan/serve_fit.h"
#include "plan/serving_rows.h"

namespace tw::plan {

/// What rows of one deployment share, made once.
class Deployments {
 public:
  /// Owned by this object. REQUIRES: the row has model and accelerator, which outlive it.
  base::Result<ServeCosts*> get(const ServingRow& row, const ServeStack& stack, const ServeSplit& split);

 private:
  using Key = std::tuple<const PlannedModel*, ServeSplit, const Accelerator*, Precision, double>;
  std::map<const PlannedModel*, std::unique_ptr<Tracer>> tracers_;
  std::map<Key, std::unique_ptr<ServeCosts>> known_;
};

/// Bytes.
base::Result<double> memory_of(const Accelerator& accelerator);

/// Benchmarks run about ten times as many requests as are in flight (InferenceX; aiperf's users).
int requests_of(const ServeLoad& load);

/// Of the rows that state a time per token. `stack`: of this one alone, if it has any; empty: of all.
ServeSamples samples_of(const std::vector<ServingRow>& known, Deployments& deployments,
                        const std::string& stack = {});

/// Fitted constants by stack and by what was left out.
class Fits {
 public:
  /// `samples` must outlive it.
  explicit Fits(const ServeSamples& samples) : samples_(samples) {}
  /// `typical`: whether the stack is unknown and takes the median one's.
  ServeConstants get(const std::string& stack, const std::string& left_out, bool* typical);

 private:
  const ServeSamples& samples_;
  std::map<std::pair<std::string, std::string>, ServeConstants> known_;
};

}  // namespace tw::plan
