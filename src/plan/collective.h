// Collectives in closed form, by what joins the ranks: tori, groups of a tapered network, slices on a
// data-centre network. Bandwidth only: software's share of it and latencies are the caller's.
#pragma once

#include "ops/exec.h"
#include "plan/torus.h"

namespace tw::plan {

/// What a cluster says of its networks; the default is one without a narrow place.
struct Fabric {
  Torus torus;            ///< of a slice, which is then the scale-up domain; empty: switches join it
  double torus_link = 0;  ///< bytes/s of a link and direction
  bool dragonfly = false;
  std::int64_t group = 0;       ///< accelerators below one leaf, pod or dragonfly group; 0: all
  double oversubscription = 1;  ///< what a group's accelerators could send over what can leave it
  bool reduces = false;         ///< the network's switches sum
};

/// What a torus gives an axis of parallelism.
struct TorusPart {
  double links = 0;     ///< into each rank, counted in whole ones
  double hops = 0;      ///< of a collective's longest way
  double crossing = 0;  ///< of an all-to-all: link-times a byte of a rank waits at the narrowest cut
};

/// Of `ranks` that stand `stride` places apart, where an axis fills one dimension after the other: a whole
/// dimension is a ring with two links into each rank, part of one is a line with one, and axes that take
/// turns in a dimension share its links. An axis that does not fit the sizes is a line.
TorusPart torus_part(const Torus& torus, std::int64_t stride, std::int64_t ranks);

/// All-gather and reduce-scatter of `bytes` (the whole tensor): (n - 1) / n x bytes / (links x rate);
/// all-reduce is both; all-to-all (`bytes` handed in by each rank) is bound by the narrowest cut: size x
/// bytes / 8 on a ring, / 4 on a line (jax-ml.github.io/scaling-book/sharding; arXiv 2304.01433).
double torus_seconds(const TorusPart& part, ops::Collective kind, std::int64_t ranks, double bytes,
                     double rate);

/// Between domains, over NICs: `inner` ranks of the axis stand in one domain and share the work. A ring
/// enters and leaves each domain and group once; on a dragonfly its traffic from a group to the next takes
/// ways over third groups and finds half of what leaves the group (Kim et al., ISCA 2008). With summing
/// switches an all-reduce sends its bytes once.
double network_seconds(const Fabric& fabric, ops::Collective kind, double ranks, double stride, double inner,
                       double bytes, double nic);

/// An axis over several slices: reduce-scatter inside, all-reduce of each rank's part between, all-gather
/// inside (or what of it the collective needs). The parts follow each other.
struct SliceSeconds {
  double inside = 0, network = 0;
};
SliceSeconds slices_seconds(const Fabric& fabric, ops::Collective kind, std::int64_t ranks,
                            std::int64_t stride, double bytes, double nic);

}  // namespace tw::plan
