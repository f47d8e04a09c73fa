// The pieces that ops with linear layers inside are made of. For src/ops alone.
#pragma once

#include <initializer_list>

#include "ops/prepared.h"
#include "tensor/packed_matrix.h"

namespace tw::ops {

/// How a phase's rows are multiplied with a weight.
const kernels::MatmulPath& path_of(const Exec& ex, const tensor::PackedMatrix& weight, bool prompt);

/// Rows [begin, begin + rows) of x as `path` wants them, from the arena, without the barrier. `made` is set
/// when there was anything to do.
PreparedRows prepare_rows(Exec& ex, Tensor x, const kernels::MatmulPath& path, std::int64_t begin,
                          std::int64_t rows, bool& made);

/// Whether a path reads what was prepared for another one.
bool reads_alike(const kernels::MatmulPath& path, const kernels::MatmulPath& other);

/// Prepares all rows, from the arena; ends with a barrier if there was anything to do. What came prepared is
/// for this weight.
Prepared prepare(Exec& ex, const Input& x, const tensor::PackedMatrix& weight, std::int64_t generated);

/// `have` if it serves this weight too.
Prepared prepare_again(Exec& ex, const Input& x, const tensor::PackedMatrix& weight, const Prepared& have);

/// This worker's part of out [T, N]: columns, or where the weight is a side rows (slice_sides). bias and
/// residual may be null. No barrier. Tracing, it only asks for scratch.
void matmul_slice(Exec& ex, const Prepared& x, const tensor::PackedMatrix& weight, float* out,
                  const float* bias, const float* residual);
/// The same, rounded: a left side [T, N] (TrainMatmul::run_rounded). `x`: of prepare, without generated rows.
/// REQUIRES: both_sides_of or rounds_frozen.
void rounded_matmul_slice(Exec& ex, const Prepared& x, const tensor::PackedMatrix& weight, std::byte* side);

/// Where the weight is one side of a TrainMatmul; else null.
const kernels::TrainMatmul* sides_of(const Exec& ex, const tensor::PackedMatrix& weight);

/// Calls run with this worker's part of a product of sides, `whole`, and its first row. It is cut along its
/// rows where these are no fewer than its columns and enough for each: a worker then reads the smaller side
/// alone whole, and of the other one what it has mostly made itself. No barrier.
template <typename F>
void slice_sides(const Exec& ex, const kernels::MatmulArgs& whole, F&& run) {
  const kernels::MatmulPath& path = ex.table().train_matmul->kernel.decode;
  kernels::MatmulArgs args = whole;
  constexpr std::int64_t kFewestRows = 128;  // of a worker: with fewer, reading all of the other side counts
  if (whole.rows < whole.n || whole.rows < kFewestRows * ex.workers()) {
    return ex.slice(whole.n, path.slice_rows, [&](std::int64_t begin, std::int64_t end) {
      args.n_begin = begin, args.n_end = end;
      run(args, std::int64_t{0});
    });
  }
  ex.slice(whole.rows, 32, [&](std::int64_t begin, std::int64_t end) {
    args.x = static_cast<const std::byte*>(whole.x) + path.prepared_bytes(begin, whole.k);
    args.rows = end - begin;
    if (whole.out != nullptr) args.out = whole.out + begin * whole.out_stride;
    if (whole.residual != nullptr) args.residual = whole.residual + begin * whole.out_stride;
    run(args, begin);
  });
}

/// Whether a prompt's rows go from the gate and up of a gated feed-forward layer to its down in one piece
/// (MatmulPath::run_gated).
bool prompts_in_one_piece(const Exec& ex, const tensor::PackedMatrix& gate, const tensor::PackedMatrix& up,
                          const tensor::PackedMatrix& down);

/// x [T, K] as the product for a weight's gradient takes it: a right side of TrainMatmul, from the arena, or
/// as it is.
struct TransposedInput {
  const void* data = nullptr;
  std::int64_t rows = 0, width = 0;
};
/// For weights that lie as `weight` does. Ends with a barrier if there was anything to do.
TransposedInput transpose_input(Exec& ex, Tensor x, const tensor::PackedMatrix& weight);
/// As the weights that are learnt among these want it (null: none); nothing if all are frozen. REQUIRES: they
/// have one type.
TransposedInput transpose_learnt(const Backward& b, Tensor x,
                                 std::initializer_list<const tensor::PackedMatrix*> weights);

/// d_y [T, N], and the sides that the products with it are made of, where both are wanted and one reading
/// gives them (null: each makes its own). Who makes the sides alone gives a d_y that has a shape and no data.
struct OutputGradient {
  OutputGradient(Tensor gradient = {}) : d_y(gradient) {}
  Tensor d_y;
  const void* as_is = nullptr;       ///< for input_gradient
  const void* transposed = nullptr;  ///< for add_weight_gradient
  /// More products follow that neither read what its own write nor write to it, but for sums of d_x that are
  /// cut alike: those that find their side made leave the barrier to whoever set this.
  bool in_company = false;
};
/// How both sides are made in one reading, and products made sides: of a weight that is learnt on the tape at
/// hand, lies as a side of a TrainMatmul and has a multiple of 32 rows; else null. REQUIRES: there is a tape.
const kernels::TrainMatmul* both_sides_of(const Exec& ex, const tensor::PackedMatrix& weight);
/// Whether products with a weight that the tape does not know can be rounded to left sides as they leave.
/// REQUIRES: there is a tape.
bool rounds_frozen(const Exec& ex, const tensor::PackedMatrix& weight);
/// Memory for both sides of a gradient d_y [T, N], from the arena.
struct LeftSides {
  LeftSides(Exec& ex, const kernels::TrainMatmul& matmul, std::int64_t rows, std::int64_t n,
            bool with_transposed = true);
  void *as_is, *transposed;  ///< transposed: null without
};
/// For both gradients of `weight`, from the arena. No barrier.
OutputGradient make_both_sides(const Backward& b, Tensor d_y, const tensor::PackedMatrix& weight);
/// Ends with a barrier if there was anything to do.
OutputGradient both_sides(const Backward& b, Tensor d_y, const tensor::PackedMatrix& weight);

/// The gradients of y = x · Wᵀ (+ bias), of d_y [T, N]. Each does nothing for what is frozen, and ends with a
/// barrier (but see in_company). d_W += d_yᵀ · x
void add_weight_gradient(const Backward& b, const OutputGradient& y, const TransposedInput& x,
                         const tensor::PackedMatrix& weight);
void add_bias_gradient(const Backward& b, Tensor d_y, Tensor bias);
/// d_x [T, K] = d_y · W, or with `add` d_x += d_y · W. A weight that the tape does not know is frozen: of its
/// rows as they are in the file, in any type, a panel of columns at a time is made plain and multiplied with.
void input_gradient(const Backward& b, const OutputGradient& y, const tensor::PackedMatrix& weight,
                    Tensor d_x, bool add);
/// d_x [T, K] rounded, as a left side from the arena. REQUIRES: K is a multiple of 32, y.as_is,
/// both_sides_of.
std::byte* rounded_input_gradient(const Backward& b, const OutputGradient& y,
                                  const tensor::PackedMatrix& weight);
void frozen_input_gradient(const Backward& b, const OutputGradient& y, const tensor::PackedMatrix& weight,
                           Tensor d_x, bool add);

/// Whether an op may add to that: it has out's shape, and so many columns; in training it may be missing.
bool residual_fits(const Exec& ex, Tensor residual, Tensor out, std::int64_t width);

/// The gradient of an op's first input is that of its output: added, where it is not in the same place.
void pass_gradient(const Backward& b);

OpCost linear_cost(const char* name, std::int64_t rows, const tensor::PackedMatrix& weight);
/// Of products of one input with several weights, as one with all their columns.
OpCost fused_cost(const char* name, std::int64_t rows,
                  std::initializer_list<const tensor::PackedMatrix*> weights);
/// Of an op that treats each row alone: elements read and written.
OpCost rows_cost(const char* name, double read, double written);

}  // namespace tw::ops
