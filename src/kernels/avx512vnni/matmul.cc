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
  for_panel_types([&]<DType kType>() { slots.matmul[static_cast<int>(kType)] = &kKernel<kType>; });
}

#ifdef TW_EMULATED
}  // namespace emulated
#endif

}  // namespace tw::kernels
