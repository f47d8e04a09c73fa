// The share of wall-clock time that trains, when nodes fail.
#pragma once

#include <optional>

#include "base/result.h"

namespace tw::plan {

/// Nodes kept ready to replace failed ones, and how long one that failed is away.
struct Spares {
  double nodes = 0;
  double repair = 86400;  ///< seconds until a failed node can be used again, on average
};

struct Goodput {
  double share = 1;
  double mtbf = 0, interval = 0;  ///< seconds; 0: nothing fails
  double waiting = 0;             ///< share of the time in which more nodes are away than there are spares
  double away = 0;                ///< nodes in repair, on average
};

/// When `nodes` fail so often in 1,000 node-days that they train: checkpoints at the interval of Young and
/// Daly, I = sqrt(2 C M) with M between failures; lost are C / I + I / (2 M) + R / M. Without `spares` a
/// failed node is replaced at once, always.
///
/// With S of them the run waits whenever S + 1 nodes are away. Nodes that wait do not fail, nor do spares;
/// each repair goes on by itself. So the number that is away is that of the busy lines of an exchange with
/// S + 1 lines, called at the rate 1 / M, and the share of time in which all are busy is Erlang's loss
/// formula B(S + 1, T / M) with the mean time T of a repair, whatever its distribution (Erlang 1917;
/// Sevastyanov 1957 for the last). What is left trains as above, for a run that waits loses nothing else:
/// share = (1 - B) (1 - C / I - I / (2 M) - R / M), and T / M (1 - B) are away on average.
///
/// Fails when nothing is left between failures.
base::Result<Goodput> goodput(double nodes, double failures, double checkpoint, double restart,
                              const std::optional<Spares>& spares = {});

/// Erlang's loss formula: the share of time in which all of `lines` are busy, that `offered` (calls in the
/// mean time of one) would like to use. 1 of no lines.
double erlang_loss(double lines, double offered);

}  // namespace tw::plan
