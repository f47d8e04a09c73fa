#include "plan/request_flow.h"

#include <algorithm>
#include <numeric>

namespace tw::plan {

Served RequestFlow::result(double now) {
  Served s;
  const double n = static_cast<double>(ended_);
  s.first_token = std::accumulate(first_.begin(), first_.end(), 0.0) / n;
  std::sort(first_.begin(), first_.end());
  s.first_token_99 = first_[static_cast<std::size_t>(0.99 * (n - 1))];
  s.output_token = with_gaps_ > 0 ? between_ / with_gaps_ : 0;
  s.request = whole_ / n;
  s.tokens_per_second = tokens_ / now;
  s.batch = steps_ > 0 ? given_ / steps_ : 0;
  return s;
}

}  // namespace tw::plan
