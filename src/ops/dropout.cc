#include "ops/dropout.h"

#include <algorithm>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {

namespace {

/// Of 2^32 words, those that leave something out.
std::uint32_t words_of(double share) {
  constexpr double kWords = 4294967296.0;
  TW_CHECK(share >= 0 && share < 1, "dropout leaves something");
  return static_cast<std::uint32_t>(std::min(share * kWords + 0.5, kWords - 1));
}

}  // namespace

bool drops_weights(const Exec& ex) {
  return ex.training() && ex.dropout().attention > 0;
}

kernels::AttentionDropout attention_dropout(const Dropout& dropout, std::uint32_t site) {
  return {static_cast<std::uint32_t>(dropout.first_row),
          site,
          static_cast<std::uint32_t>(dropout.step),
          dropout.seed,
          words_of(dropout.attention),
          static_cast<float>(1 / (1 - dropout.attention))};
}

kernels::DropoutArgs dropout_args(const Dropout& dropout, const Mask& mask) {
  kernels::DropoutArgs a{};
  a.width = mask.shape.elements() / mask.shape[0];
  a.first_row = static_cast<std::uint32_t>(dropout.first_row);
  a.site = mask.site;
  a.step = static_cast<std::uint32_t>(dropout.step);
  a.seed = dropout.seed;
  a.dropped = words_of(mask.share);
  a.scale = static_cast<float>(1 / (1 - mask.share));
  return a;
}

void keep_some(Exec& ex, const Mask& mask, const float* x, const float* add, float* out) {
  if (ex.tracing()) {
    const auto elements = static_cast<double>(mask.shape.elements());
    return ex.record(rows_cost("dropout", 2 * elements, elements));
  }
  kernels::DropoutArgs args = dropout_args(ex.dropout(), mask);
  args.x = x, args.add = add, args.out = out;
  ex.slice(mask.shape[0], 1, [&](std::int64_t begin, std::int64_t end) {
    args.row_begin = begin, args.row_end = end;
    ex.table().train.dropout(args);
  });
  ex.barrier();
}

namespace {

bool drops(const Exec& ex) {
  return ex.training() && ex.dropout().branches > 0;
}

/// Of the residual, if there is one, and what is dropped from: the same mask again.
void dropout_backward(const Backward& b, const Mask& mask) {
  if (b.wants(1))
    keep_some(b.ex, mask, b.d_out().f32(), b.adds(1) ? b.d_in(1).f32() : nullptr, b.d_in(1).f32());
  pass_gradient(b);
}

}  // namespace

Tensor dropout(Exec& ex, Tensor x, std::uint32_t site) {
  if (!drops(ex)) return x;
  Tensor out = ex.input(x);
  if (x.tape_id < 0) out.tape_id = -1;  // frozen, and so is what is left of it
  const Mask mask{x.shape, site, ex.dropout().branches};
  if (Tape* tape = out.tape_id < 0 ? nullptr : ex.recording())
    tape->record<dropout_backward>(mask, {out}, {Tensor{}, x}, true);
  keep_some(ex, mask, x.f32(), nullptr, out.f32());
  return out;
}

Branch::Branch(Exec& ex, Tensor residual, Tensor out, std::uint32_t site)
    : ex_(ex),
      residual_(residual),
      out_(out),
      made_(drops(ex) ? ex.input(out) : out),
      site_(site),
      drops_(drops(ex)) {}

Tensor Branch::end() {
  if (!drops_) return out_;
  const Mask mask{out_.shape, site_, ex_.dropout().branches};
  if (Tape* tape = ex_.recording()) tape->record<dropout_backward>(mask, {out_}, {residual_, made_}, true);
  keep_some(ex_, mask, made_.f32(), residual_.f32(), out_.f32());
  return out_;
}

}  // namespace tw::ops
