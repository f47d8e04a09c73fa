#include "base/dtype.h"
#include "kernels/ref/dequantize.h"
#include "kernels/ref/ref.h"

namespace tw::kernels {
namespace {

// Sixteen partial sums, so that compilers can use vectors without being allowed to reorder additions.
constexpr int kLanes = 16;

float dot(const float* a, const float* b, std::int64_t n) {
  float partial[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) partial[lane] += a[i + lane] * b[i + lane];
  }
  float tail = 0;
  for (; i < n; ++i) tail += a[i] * b[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) partial[lane] += partial[lane + width];
  }
  return partial[0] + tail;
}

std::int64_t scratch_bytes(std::int64_t, std::int64_t k) {
  return (k + kLanes) * static_cast<std::int64_t>(sizeof(float));
}

void run(const MatmulArgs& a) {
  auto* weight_row = static_cast<float*>(a.scratch);
  const std::size_t file_row = base::row_bytes(a.type, a.k);
  for (std::int64_t n = a.n_begin; n < a.n_end; ++n) {
    dequantize_row(a.type, static_cast<const std::byte*>(a.weight) + n * file_row, weight_row, a.k);
    for (std::int64_t t = 0; t < a.rows; ++t) {
      const auto* x = static_cast<const float*>(a.x) + t * a.k;
      float y = dot(x, weight_row, a.k);
      if (a.bias != nullptr) y += a.bias[n];
      if (a.residual != nullptr) y += a.residual[t * a.out_stride + n];
      a.out[t * a.out_stride + n] = y;
    }
  }
}

}  // namespace

const MatmulKernel kRefMatmul = {
    1, nullptr, nullptr, {"ref fp32", 1, nullptr, nullptr, 1, scratch_bytes, run}};

void ref_slots(const CpuFeatures&, KernelSlots& slots) {
  for (const MatmulKernel*& kernel : slots.matmul) kernel = &kRefMatmul;
  slots.rms_norm = ref_rms_norm;
  slots.rope = ref_rope;
  slots.store_kv = ref_store_kv;
  slots.attention = slots.prompt_attention = ref_attention;
  slots.merge_attention = ref_merge_attention;
  slots.silu_mul = ref_silu_mul;
  ref_train_slots(slots);
  slots.read_sum = ref_read_sum;
  slots.peak = ref_peak;
}

}  // namespace tw::kernels
