// Where ranks that share a model meet. One rank has nothing to do; more are for traces alone yet.
#include "ops/ops.h"

namespace tw::ops {
namespace {

void record(Exec& ex, const char* name, Collective collective, double elements) {
  OpCost cost{.name = name, .kind = OpKind::kCollective};
  cost.collective = collective;
  cost.elements = elements;
  ex.record(std::move(cost));
}

}  // namespace

Tensor gather_rows_of_ranks(Exec& ex, Tensor x) {
  const Sharding& s = ex.sharding();
  if (s.tensor == 1 || !s.sequence) return x;
  const Tensor all = ex.output({x.rows() * s.tensor, x.row_stride()});
  record(ex, "gather_sequence", Collective::kAllGather, static_cast<double>(all.rows() * all.row_stride()));
  return all;
}

Tensor sum_over_ranks(Exec& ex, Tensor x) {
  const Sharding& s = ex.sharding();
  if (s.tensor == 1) return x;
  // A sequence-parallel x stands for its rank's rows already: what is summed is `tensor` times as tall.
  const double elements = static_cast<double>(x.rows() * x.row_stride()) * (s.sequence ? s.tensor : 1);
  record(ex, "sum_over_ranks", s.sequence ? Collective::kReduceScatter : Collective::kAllReduce, elements);
  return x;
}

}  // namespace tw::ops
