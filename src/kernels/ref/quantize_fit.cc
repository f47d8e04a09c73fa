#include "kernels/ref/quantize_fit.h"

#include <algorithm>
#include <cmath>

#include "kernels/ref/float16.h"

namespace tw::kernels {
namespace {

constexpr int kLanes = 8;
constexpr int kTries = 20;    ///< scales on each side of zero
constexpr int kCuts = 6;      ///< places where the range may begin and end
constexpr int kRefining = 4;  ///< rounds of new numbers by new scales
/// Groups whose scale is below this count as zeros: fp16 has nothing smaller than 2^-24.
constexpr float kTiny = 1e-30F;

/// Sums in fixed lanes, so that the compiler may add several at a time without changing the order.
struct Sum {
  float lane[kLanes] = {};
  float total() const {
    float half[kLanes / 2];
    for (int i = 0; i < kLanes / 2; ++i) half[i] = lane[i] + lane[i + kLanes / 2];
    return half[0] + half[2] + (half[1] + half[3]);
  }
};

struct Products {
  float q = 0, qq = 0, xq = 0;  ///< weighted sums
};

/// Of the numbers q = round((x - offset) * inverse).
Products products(const Group& g, float inverse, float offset, float low, float high) {
  Sum sum_q, sum_qq, sum_xq;
  for (int i = 0; i < g.n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = g.x[i + lane];
      const float q = rounded(clamped((x - offset) * inverse, low, high));
      const float wq = g.w[i + lane] * q;
      sum_q.lane[lane] += wq;
      sum_qq.lane[lane] += wq * q;
      sum_xq.lane[lane] += wq * x;
    }
  }
  return {sum_q.total(), sum_qq.total(), sum_xq.total()};
}

/// By how much a scale that is best for these numbers lessens the error of zeros.
float gain(const Products& p) {
  return p.qq > 0 ? p.xq * p.xq / p.qq : 0;
}

struct Moments {
  float w = 0, wx = 0;
};

Moments moments(const Group& g) {
  Sum w, wx;
  for (int i = 0; i < g.n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      w.lane[lane] += g.w[i + lane];
      wx.lane[lane] += g.w[i + lane] * g.x[i + lane];
    }
  }
  return {w.total(), wx.total()};
}

struct Solved {
  ScaleAndOffset value;
  float gain = -1;  ///< less error than zeros have
};

/// The scale and offset that are best for these numbers.
Solved solve(const Products& p, const Moments& m, bool below) {
  const float determinant = m.w * p.qq - p.q * p.q;
  if (!(p.qq > 0)) return {};
  Solved best;
  if (determinant > 0) {
    best.value.scale = (m.w * p.xq - p.q * m.wx) / determinant;
    best.value.offset = (p.qq * m.wx - p.q * p.xq) / determinant;
  }
  if (!(determinant > 0) || (below && best.value.offset > 0)) best.value = {p.xq / p.qq, 0};
  if (!(best.value.scale > 0)) return {};
  // The error is that of zeros less twice the products with x, plus the square of what stands in their place.
  const float s = best.value.scale, o = best.value.offset;
  best.gain = 2 * (s * p.xq + o * m.wx) - (s * s * p.qq + 2 * s * o * p.q + o * o * m.w);
  return best;
}

}  // namespace

float fit_scale(const Group& g, int low, int high) {
  float largest = 0;
  for (int i = 0; i < g.n; ++i) largest = std::fmax(largest, std::fabs(g.x[i]));
  if (largest < kTiny) return 0;
  const auto lowest = static_cast<float>(low), highest = static_cast<float>(high);
  float best = 0, best_gain = -1;
  const auto consider = [&](float inverse) {
    const Products p = products(g, inverse, 0, lowest, highest);
    if (gain(p) <= best_gain) return false;
    best_gain = gain(p);
    best = p.qq > 0 ? p.xq / p.qq : 0;
    return true;
  };
  // The largest value is put at the end of the numbers, or a little further in or out.
  for (const float limit : {highest, lowest}) {
    const float wide = std::fmin(0.15F * std::fabs(limit) + 0.6F, 2.5F);
    for (int i = 0; i < kTries; ++i) {
      const float end = limit + wide * (2 * static_cast<float>(i) / (kTries - 1) - 1);
      consider(end / largest);
    }
    if (low == -high) break;  // both signs are the same
  }
  for (int i = 0; i < kRefining && best != 0 && consider(1 / best); ++i) {
  }
  return best;
}

ScaleAndOffset fit_scale_and_offset(const Group& g, int high, bool below) {
  float smallest = below ? 0 : g.x[0], largest = g.x[0];
  for (int i = 0; i < g.n; ++i) {
    smallest = std::fmin(smallest, g.x[i]);
    largest = std::fmax(largest, g.x[i]);
  }
  const float range = largest - smallest;
  if (range < kTiny) return {0, smallest};
  const Moments m = moments(g);
  const auto highest = static_cast<float>(high);
  Solved best{{0, smallest}, -1};
  const auto consider = [&](float scale, float offset) {
    const Solved solved = solve(products(g, 1 / scale, offset, 0, highest), m, below);
    if (!(solved.gain > best.gain)) return false;
    best = solved;
    return true;
  };
  // The range is cut at both ends by up to a number and a quarter, or is a little wider than the values.
  const float step = range / highest;
  for (int from = 0; from < kCuts; ++from) {
    for (int to = 0; to < kCuts; ++to) {
      const float begin = smallest + step * (static_cast<float>(from) * 0.3F - 0.3F);
      const float end = largest - step * (static_cast<float>(to) * 0.3F - 0.3F);
      if (end > begin) consider((end - begin) / highest, begin);
    }
  }
  for (int i = 0; i < kRefining && best.value.scale > 0 && consider(best.value.scale, best.value.offset);
       ++i) {
  }
  return best.value;
}

float group_error(const Group& g, float scale, float offset, int low, int high) {
  const float inverse = scale == 0 ? 0 : 1 / scale;
  const float usable = std::isfinite(inverse) ? inverse : 0;
  Sum error;
  for (int i = 0; i < g.n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = g.x[i + lane];
      const float q =
          rounded(clamped((x - offset) * usable, static_cast<float>(low), static_cast<float>(high)));
      const float miss = x - (scale * q + offset);
      error.lane[lane] += g.w[i + lane] * miss * miss;
    }
  }
  return error.total();
}

float encode_group(const Group& g, float scale, float offset, int low, int high, std::uint8_t* q) {
  const float inverse = scale == 0 ? 0 : 1 / scale;
  const float usable = std::isfinite(inverse) ? inverse : 0;
  for (int i = 0; i < g.n; ++i) {
    const float number =
        rounded(clamped((g.x[i] - offset) * usable, static_cast<float>(low), static_cast<float>(high)));
    q[i] = static_cast<std::uint8_t>(static_cast<int>(number) - low);
  }
  return group_error(g, scale, offset, low, high);
}

std::uint16_t scale_to_half(float scale) {
  return float_to_half(clamped(scale, -65504.0F, 65504.0F));
}

}  // namespace tw::kernels
