// MLPerf's offline scenario: all requests are there at once.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "plan/deployments.h"

namespace tw::plan {

/// The software behind a submission: NVIDIA's partners submit TensorRT-LLM; AMD's, and who says so, vLLM.
ServeStack offline_stack(const ServingRow& row);

/// Tokens a second of the division that gives most, in batches as large as the cache allows. Rounds from 5 on
/// may have stages: NVIDIA ran Llama-2-70B on pairs of H100 as tp 2 in v4.1, and as two stages in v5
/// (closed/NVIDIA/configs/llama2-70b/Offline). `curves`: the least sure one that was used.
base::Result<double> offline_tokens(const ServingRow& row, Deployments& deployments,
                                    const ServeConstants& constants, Provenance* curves);

/// How much faster a round's software is than the constants of its stack, which come from serving runs of
/// other years: one number for each stack and round, the median over its accelerators. A round of a stack
/// without other accelerators takes that of all stacks; one that nobody knows takes the nearest.
class RoundPaces {
 public:
  RoundPaces(const std::vector<ServingRow>& known, Deployments& deployments, Fits& fits);
  /// Without the accelerator of the row.
  double of(const ServingRow& row) const;

 private:
  struct Point {
    std::string stack, accelerator;
    double round = 0;  ///< as 5.1
    double pace = 0;
  };
  std::vector<Point> points_;
};

}  // namespace tw::plan
