// What linear layers are multiplied with: mean squares by input column. They say which columns of a weight
// matter.
#pragma once

#include <map>
#include <vector>

#include "tensor/packed_matrix.h"
#include "tensor/tensor.h"

namespace tw::ops {

class Exec;

/// Filled by the steps of an Exec that was told of it (Exec::observe), on all workers at once, and the same
/// for any number of them.
class InputSquares {
 public:
  /// This weight's inputs count. REQUIRES: no step runs.
  void watch(const tensor::PackedMatrix& weight);

  /// Takes in the rows of x [T, K] that are about to be multiplied with the weight: this worker's share of
  /// the columns. Called by every worker, between two barriers. Weights that are not watched are left out.
  void add(const Exec& ex, tensor::Tensor x, const tensor::PackedMatrix& weight);

  /// [K]; empty if there was no row. REQUIRES: the weight is watched, and no step runs.
  std::vector<float> means(const tensor::PackedMatrix& weight) const;

 private:
  struct Sums {
    std::vector<double> squares;
    std::int64_t rows = 0;  ///< worker 0 counts
  };
  std::map<const tensor::PackedMatrix*, Sums> sums_;
};

}  // namespace tw::ops
