// Loops that measure the machine, in plain C++.
#include "kernels/ref/ref.h"

namespace tw::kernels {

std::uint64_t ref_read_sum(const ReadArgs& a) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(a.data);
  const std::int64_t count = a.bytes / 8, ahead = a.prefetch / 8;
  std::uint64_t sum[8] = {};
  for (std::int64_t i = 0; i < count; i += 8) {
    if (ahead > 0) __builtin_prefetch(words + i + ahead);
    for (int j = 0; j < 8; ++j) sum[j] += words[i + j];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t part : sum) total += part;
  return total;
}

PeakResult ref_peak(const PeakArgs& a) {
  if (a.way != 0) return {nullptr, 0, 0};
  constexpr int kLanes = 32;
  float sum[kLanes] = {}, x[kLanes];
  for (int i = 0; i < kLanes; ++i) x[i] = a.values[i];
  for (std::int64_t round = 0; round < a.rounds; ++round) {
    const float factor = a.values[round % (kPeakBytes / 4)];
    for (int i = 0; i < kLanes; ++i) sum[i] += x[i] * factor;
  }
  double total = 0;
  for (const float part : sum) total += part;
  return {"ref fp32", 2.0 * kLanes * static_cast<double>(a.rounds), total};
}

}  // namespace tw::kernels
