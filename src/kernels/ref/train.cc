// The kernels of training, number by number.
#include <cmath>

#include "kernels/layer_rows.h"
#include "kernels/ref/float16.h"
#include "kernels/ref/ref.h"
#include "kernels/train_attention.h"
#include "kernels/train_rows.h"

namespace tw::kernels {
namespace {

struct TrainNumber {
  using Floats = float;
  using Words = std::uint32_t;
  static constexpr std::int64_t kLanes = 1;
  static constexpr int kTileRows = 4, kTileVectors = 4;

  static float load(const float* p, std::int64_t = 1) { return *p; }
  static float load_or(const float* p, std::int64_t, float) { return *p; }
  static float load_column(const float* p, std::int64_t, std::int64_t) { return *p; }
  static void store(float* p, float v, std::int64_t = 1) { *p = v; }
  static void store_bf16(std::uint16_t* p, float v, std::int64_t) { *p = float_to_bfloat16(v); }
  static float all(float x) { return x; }
  static float add(float a, float b) { return a + b; }
  static float sub(float a, float b) { return a - b; }
  static float mul(float a, float b) { return a * b; }
  static float div(float a, float b) { return a / b; }
  static float fma(float a, float b, float c) { return a * b + c; }
  static float larger(float a, float b) { return a > b ? a : b; }
  static float root(float v) { return std::sqrt(v); }
  static float exp(float x) { return std::exp(x); }
  static float sum_of(float v) { return v; }
  static float largest_of(float v) { return v; }

  static Words words(std::uint32_t x) { return x; }
  static Words counting(std::uint32_t first) { return first; }
  static Words exclusive_or(Words a, Words b) { return a ^ b; }
  static void multiply(Words a, std::uint32_t by, Words& high, Words& low) {
    const std::uint64_t product = std::uint64_t{a} * by;
    high = static_cast<Words>(product >> 32);
    low = static_cast<Words>(product);
  }
  static float where_at_least(Words w, std::uint32_t least, float v) { return w >= least ? v : 0; }
};

}  // namespace

void ref_train_slots(KernelSlots& slots) {
  fill_train_slots<TrainNumber>(slots.train);
  fill_layer_slots<TrainNumber>(slots);
}

}  // namespace tw::kernels
