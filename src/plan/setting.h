// A question to the planner, complete and checked: model, job, cluster, and the software's constants.
#pragma once

#include <functional>

#include "plan/collective.h"
#include "plan/machine.h"
#include "plan/memory.h"
#include "plan/presets.h"
#include "plan/validate.h"
#include "spec/cluster_spec.h"
#include "spec/train_job.h"

namespace tw::plan {

/// A kind of accelerator in a cluster of two.
struct Kind {
  spec::ClusterSpec cluster;  ///< as if it were alone
  Accelerator accelerator;    ///< whose domain is no larger than there are of them
  Fabric fabric;
};

struct Setting {
  PlannedModel model;
  spec::TrainJob job;
  spec::ClusterSpec cluster;
  Accelerator accelerator;  ///< the catalogue's with what the cluster says instead; of two kinds the first's
  FittedStack stack;
  TrainingJob training;
  Fabric fabric;
  /// Where the software can say itself what a plan holds (the trainer here); else the table of memory.h.
  std::function<base::Result<StageMemory>(const spec::ParallelPlan&)> own_memory;
  std::vector<Kind> kinds;  ///< two; empty: all accelerators are alike

  bool mixed() const { return !kinds.empty(); }
  /// The question with one of the kinds alone. REQUIRES: mixed().
  Setting of_kind(std::size_t kind) const;
  /// Accelerators of all kinds.
  std::int64_t accelerators() const { return cluster.accelerators + cluster.second.accelerators; }
  /// Bytes of one accelerator. Memory parts come in powers of two: the catalogue's GB are 2^30 bytes.
  base::Result<Quantity> memory() const;
  /// Bytes of the host for each accelerator, with all that offloading needs: what is blank is named.
  base::Result<Quantity> host_memory() const;
  int nodes() const;
  /// Accelerators of the spare nodes.
  double spare_accelerators() const;
  /// Whether the accelerators are whole slices of the torus, if there is one.
  base::Status check_slices() const;
  /// Relative error to expect of a step's time when the curves are this sure.
  double spread(Provenance curves) const;
};

/// Checks all parts; an empty stack becomes the accelerator's usual one.
base::Result<Setting> make_setting(PlannedModel model, spec::TrainJob job, spec::ClusterSpec cluster);

/// The catalogue's accelerator with what the cluster says instead. REQUIRES: the cluster is valid.
base::Result<Accelerator> accelerator_of(const spec::ClusterSpec& cluster);
/// Bytes of one: the cluster's, or the catalogue's GB as 2^30.
base::Result<Quantity> memory_of(const spec::ClusterSpec& cluster, const Accelerator& accelerator);
/// USD of one with its share of all around it: the cluster's, or the catalogue's and two thirds more.
base::Result<Quantity> price_of(const spec::ClusterSpec& cluster, const Accelerator& accelerator);

/// The name by which this machine is asked for, once `plan calibrate` has measured it.
inline constexpr std::string_view kThisMachine = "this-machine";
/// Relative error to expect of a time here: what set `this-machine` of `plan validate` is held to.
inline constexpr double kMachineSpread = 0.1;

/// The rows in the program.
const std::vector<TrainingRow>& shipped_rows();

}  // namespace tw::plan
