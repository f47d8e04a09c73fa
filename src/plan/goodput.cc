#include "plan/goodput.h"

#include <algorithm>
#include <cmath>

namespace tw::plan {

double erlang_loss(double lines, double offered) {
  double loss = 1;
  for (double n = 1; n <= lines && loss > 0; ++n) loss = offered * loss / (n + offered * loss);
  return loss;
}

base::Result<Goodput> goodput(double nodes, double failures, double checkpoint, double restart,
                              const std::optional<Spares>& spares) {
  Goodput g;
  if (failures <= 0) return g;
  g.mtbf = 1000 * 86400 / (nodes * failures);
  g.interval = std::max(1.0, std::sqrt(2 * checkpoint * g.mtbf));
  g.share = 1 - checkpoint / g.interval - g.interval / (2 * g.mtbf) - restart / g.mtbf;
  if (!(g.share > 0))
    return base::error(
        base::Code::kInvalidArgument,
        "{:.0f} nodes fail every {:.1f} minutes and nothing is trained between: lower --restart ({:.0f} s), "
        "--checkpoint ({:.0f} s) or --failures ({})",
        nodes, g.mtbf / 60, restart, checkpoint, failures);
  if (!spares) return g;
  const double offered = spares->repair / g.mtbf;
  g.waiting = erlang_loss(spares->nodes + 1, offered);
  g.away = offered * (1 - g.waiting);
  g.share *= 1 - g.waiting;
  return g;
}

}  // namespace tw::plan
