// The kernels of training by 512-bit vectors.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/train_vector.h"
#include "kernels/layer_rows.h"
#include "kernels/train_attention.h"
#include "kernels/train_rows.h"

namespace tw::kernels {

void avx512_train_slots(KernelSlots& slots) {
  fill_train_slots<TrainVector>(slots.train);
  fill_layer_slots<TrainVector>(slots);
}

}  // namespace tw::kernels
