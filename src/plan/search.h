// The best plans for a setting: every division, micro-batch, interleaving, ZeRO stage and recomputation, by
// the closed form and the memory of the stages.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/team.h"
#include "plan/estimate.h"

namespace tw::plan {

struct FoundPlan {
  spec::ParallelPlan plan;
  double seconds = 0;  ///< of a step
  double bytes = 0;    ///< of the fullest rank
};

struct SearchOptions {
  std::size_t keep = 100;  ///< of the fastest
  /// From so many plans on, groups of plans are skipped whose lower bounds of time and memory show that none
  /// of them is among the fastest or on the front.
  double bounds_from = 10e6;
  /// ZB-H1 too, of stages of one piece (arXiv 2401.10241).
  bool zero_bubble = false;
  std::function<void(double share)> progress;  ///< called now and then by the calling thread
};

struct SearchResult {
  std::vector<FoundPlan> best;             ///< that fit, fastest first
  std::vector<FoundPlan> front;            ///< none is both slower and fuller than another; fastest first
  std::optional<FoundPlan> fastest_unfit;  ///< of those whose memory was computed
  double space = 0;                        ///< plans there are
  double computed = 0, skipped = 0;        ///< time and memory computed; skipped by bounds
  double fit = 0;
  double busiest_seconds = 0, cpu_seconds = 0;  ///< processor time: of the busiest worker, of all
};

/// Tries them all on the team. The result does not depend on its size. Fails when no plan divides the model
/// and the batch, or the catalogue lacks a number; that none fits is no failure.
base::Result<SearchResult> search(const Setting& setting, const SearchOptions& options, base::Team& team);

}  // namespace tw::plan
