// The ways to divide a model over a cluster's accelerators, and what each serves by batch, in closed form.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plan/serve_plan.h"

namespace tw::plan {

/// Of what can be served, a rate that comes at random may ask for so much: beyond, queues grow long.
inline constexpr double kBusy = 0.8;

/// A division with its costs. `setting` must outlive it.
class ServeDivision {
 public:
  static base::Result<std::unique_ptr<ServeDivision>> make(const ServeSetting& setting, Tracer& tracer,
                                                           const ServeSplit& split);

  /// A request of the longest lengths, in whole blocks of the scheduler's cache.
  bool fits() const;
  /// Sequences that a group can run at once: what the cache holds, and a step has tokens for.
  double most() const { return most_; }
  double groups() const { return groups_; }
  const ServeSplit& split() const { return split_; }
  ServeCosts& costs() { return costs_; }

  /// So many running at most.
  ServeOption at(double batch);
  /// Batches that the job leaves open, smallest first; empty: none. Where this division comes nearer than
  /// `most` to what was asked, `why` says what would do.
  std::vector<double> batches(std::string& why, double& most);
  /// What one group is asked for, for the simulation of an option of this division.
  ServeLoad load(const ServeOption& option) const;

 private:
  ServeDivision(const ServeSetting& setting, ServeSplit split, ServeCosts costs);
  /// Requests of one group in flight; 0: the job does not say.
  double in_flight() const { return static_cast<double>(s_.job.concurrency) / groups_; }
  /// First token, token and request of so many in flight, none of which queues.
  void time(double batch, ServeOption& option);
  double request_seconds(double batch);

  const ServeSetting& s_;
  ServeSplit split_;
  ServeCosts costs_;
  double tokens_ = 0, most_ = 0, groups_ = 1;
};

/// All divisions in powers of two that the accelerators and the job allow, fewest ranks first.
std::vector<ServeSplit> serve_splits(const ServeSetting& setting);

/// Adds the answer's figures. `reason`: why it was not simulated; empty: it was.
void add_serve_figures(const ServeSetting& setting, const std::string& reason, ServeAnswer& answer);

}  // namespace tw::plan
