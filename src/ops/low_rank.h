// What adapters add to the linear layers inside an op. For src/ops alone.
#pragma once

#include <initializer_list>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {

/// What the backward of one linear layer's addition needs.
struct SavedLowRank {
  const LowRank* low = nullptr;  ///< null: nothing was added
  float* middle = nullptr;       ///< scale * x · Aᵀ [T, r], of what dropout leaves of x
  std::int64_t linear = 0;       ///< number of the layer
  bool drops = false;            ///< dropout leaves some of x out
  /// A where it learns from x as it is; null: there is none, or it learns from what is left of x.
  const PackedMatrix* a_of_input() const { return low == nullptr || drops ? nullptr : low->a; }
};

/// The additions to `count` linear layers that share x, in one op: memory first, then all x · Aᵀ, then,
/// behind a barrier, what is added. Without adapters each call does nothing.
class LowRankSum {
 public:
  /// Takes memory from the arena for additions to the layers from `first` of the op's on. Rows of a step
  /// before `first_row` are not in x.
  LowRankSum(Exec& ex, const Adapters& adapters, int first, int count, std::int64_t generated,
             std::int64_t first_row = 0);

  bool empty() const { return floats_ == 0; }
  /// This worker's part of scale * x · Aᵀ. `prepared`: x as another layer wants it, complete; A takes rows of
  /// prompts from there if it reads their form, as where it learns. No barrier.
  void project(Exec& ex, Tensor x, const Prepared& prepared);
  /// Adds to the layers' outputs, and ends with a barrier. REQUIRES: a barrier lies behind project and behind
  /// the outputs.
  void add_all(Exec& ex, std::initializer_list<Tensor> outputs) const;
  /// REQUIRES: one run of all rows, as in training.
  SavedLowRank saved(int i) const;

 private:
  struct Part;
  template <typename F>
  void for_parts(const Exec& ex, F&& f) const;
  void add(Exec& ex, std::int64_t layer, Tensor y) const;
  void project_rows(Exec& ex, const Part& part, const float* x, const PreparedRows& have,
                    std::int64_t chunk) const;
  /// Rows from `row` of x on as A's path wants them, if those at hand serve; else null.
  const void* prepared_at(const Part& part, const PreparedRows& have, std::int64_t row) const;
  std::size_t kept_bytes(const Part& part, std::int64_t rows) const;

  Adapters adapters_;
  std::int64_t linear_, count_, generated_, first_row_;
  bool drops_;                ///< training leaves some of x out
  std::int64_t floats_ = 0;   ///< of all middles
  std::size_t prepared_ = 0;  ///< bytes of all middles as B's path wants them
  float* middles_ = nullptr;
  std::byte* prepared_middles_ = nullptr;
};

/// Some run adds something to one of these layers of the op.
bool adapts(const Adapters& adapters, int first, int count);

// Gradients of y += scale * (x · Aᵀ) · Bᵀ, of d_y [T, N]. All end with a barrier, and nothing is done where
// nothing was added. Where dropout leaves some of x out, its mask is made again.
/// The gradient by x · Aᵀ: [T, r], from the arena.
Tensor low_rank_middle_gradient(const Backward& b, const OutputGradient& y, const SavedLowRank& s);
/// d_x [T, K] += what comes through A.
void low_rank_input_gradient(const Backward& b, Tensor d_middle, const SavedLowRank& s, Tensor d_x);
/// A's and B's. `learnt`: x as transpose_learnt makes it for a_of_input().
void low_rank_weight_gradients(const Backward& b, const OutputGradient& y, Tensor d_middle, Tensor x,
                               const TransposedInput& learnt, const SavedLowRank& s);

/// A linear layer, as its backward sees it.
struct SavedLayer {
  const PackedMatrix& weight;
  Tensor bias;  ///< empty: none
  const SavedLowRank& low;
  /// What is learnt of its products: the adapter's B, or the weight.
  const PackedMatrix& learnt() const { return low.low == nullptr ? weight : *low.low->b; }
};
/// A layer and the gradient by its output.
struct LayerGradient {
  Tensor d_y;
  SavedLayer layer;
};
/// All gradients of up to three layers that share their input, with what adapters add to them. It was x,
/// input number `input` of the op, whose gradient is added to with `add`; `learnt`: x as transpose_learnt
/// makes it. Ends with a barrier.
void linear_gradients(const Backward& b, std::initializer_list<LayerGradient> layers, Tensor x,
                      const TransposedInput& learnt, int input, bool add);

}  // namespace tw::ops
