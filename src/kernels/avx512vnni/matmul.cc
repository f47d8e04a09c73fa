// Products with quantized weights in panels of 16 rows, by dot products of bytes.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/intrinsics.h"
#include "kernels/avx512vnni/panel_dot.h"
#include "kernels/pack.h"
#include "kernels/panel_prepare.h"

namespace tw::kernels {
namespace {

template <DType kType>
void run(const MatmulArgs& a) {
  run_dots<kType>(a, 0);
}

constexpr const char* kNames[] = {"avx512 vnni panels of 16, bytes", "avx512 vnni panels of 16, nibbles",
                                  "avx512 vnni panels of 16, bits"};

template <DType kType>
constexpr MatmulKernel kKernel = {kPanelRows,
                                  packed_bytes_16,
                                  pack_16,
                                  {kNames[name_of(panel_format(kType))], kPanelRows, prepared_rows_bytes,
                                   prepare<Planes::kWide>, 1, nullptr, run<kType>}};

}  // namespace

#ifdef TW_EMULATED
namespace emulated {
#endif

void avx512vnni_matmul_slots(KernelSlots& slots) {
  const auto set = [&](DType type, const MatmulKernel& kernel) {
    slots.matmul[static_cast<int>(type)] = &kernel;
  };
  set(DType::kQ4_0, kKernel<DType::kQ4_0>);
  set(DType::kQ4_1, kKernel<DType::kQ4_1>);
  set(DType::kQ5_0, kKernel<DType::kQ5_0>);
  set(DType::kQ5_1, kKernel<DType::kQ5_1>);
  set(DType::kQ8_0, kKernel<DType::kQ8_0>);
  set(DType::kQ2_K, kKernel<DType::kQ2_K>);
  set(DType::kQ3_K, kKernel<DType::kQ3_K>);
  set(DType::kQ4_K, kKernel<DType::kQ4_K>);
  set(DType::kQ5_K, kKernel<DType::kQ5_K>);
  set(DType::kQ6_K, kKernel<DType::kQ6_K>);
}

#ifdef TW_EMULATED
}  // namespace emulated
#endif

}  // namespace tw::kernels
