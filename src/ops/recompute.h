// A part of a model of whose forward only the input is kept: its backward runs it again (arXiv 1604.06174).
#pragma once

#include "ops/exec.h"

namespace tw::ops {

template <auto kRun, typename Context>
struct Recomputed {
  Context context;
  Tensor x, out;

  /// Once more on the tape of blocks, which has what the gradients need, and back over it.
  static void backward(const Backward& b, const Recomputed& s) {
    TW_CHECK(!b.adds(), "a block's input is a value that goes nowhere else");
    const Exec::OnBlockTape tape(b.ex);
    const Tensor x = b.wants() ? b.ex.input(s.x) : s.x, out = b.ex.input(s.out);
    kRun(b.ex, s.context, x, out);
    b.ex.tape()->backward(b.ex, out, b.d_out(), x, b.wants() ? b.d_in() : Tensor{});
  }
};

/// Runs kRun(ex, context, x, out), which writes out [T, D] from x [T, D] and keeps nothing of its memory. The
/// same bits in gradients as without, for it runs in the same way: on a tape. `context` must outlive the
/// step's backward by what it points to. REQUIRES: ex.recomputes(), and that nothing else has x for an input.
template <auto kRun, typename Context>
void recomputed(Exec& ex, const Context& context, Tensor x, Tensor out) {
  {
    const tensor::Arena::Scope scope(ex.arena());
    const Exec::OnBlockTape tape(ex);
    const Tensor from = x.tape_id < 0 ? x : ex.input(x), to = ex.input(out);
    kRun(ex, context, from, to);
  }
  using Saved = Recomputed<kRun, Context>;
  if (Tape* tape = ex.recording()) tape->record<Saved::backward>(Saved{context, x, out}, {out}, {x});
}

}  // namespace tw::ops
