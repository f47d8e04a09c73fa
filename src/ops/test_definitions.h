// For tests: what each op computes, in double precision and step by step, as an oracle of its forward and, by
// finite differences, of its gradients.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "base/philox.h"
#include "ops/dropout.h"

namespace tw::ops {

using Numbers = std::vector<double>;

/// x [T, K] · W [N, K]ᵀ (+ bias [N]).
inline Numbers times(const Numbers& x, const Numbers& w, std::int64_t k, const Numbers& bias = {}) {
  const auto rows = static_cast<std::int64_t>(x.size()) / k, n = static_cast<std::int64_t>(w.size()) / k;
  Numbers out(rows * n);
  for (std::int64_t t = 0; t < rows; ++t) {
    for (std::int64_t i = 0; i < n; ++i) {
      double sum = bias.empty() ? 0 : bias[i];
      for (std::int64_t j = 0; j < k; ++j) sum += x[t * k + j] * w[i * k + j];
      out[t * n + i] = sum;
    }
  }
  return out;
}

inline Numbers plus(Numbers a, const Numbers& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

/// What dropout leaves of x [T, K], and makes larger.
inline Numbers kept(Numbers x, const Dropout& d, double share, std::uint32_t site, std::int64_t k) {
  const std::array<std::uint32_t, 2> key = {static_cast<std::uint32_t>(d.seed),
                                            static_cast<std::uint32_t>(d.seed >> 32)};
  if (share == 0) return x;
  for (std::int64_t at = 0; at < std::ssize(x); ++at) {
    const std::int64_t i = at % k;
    const auto words = base::philox(
        {static_cast<std::uint32_t>(i / 64 * 16 + i % 16), static_cast<std::uint32_t>(d.first_row + at / k),
         site, static_cast<std::uint32_t>(d.step)},
        key);
    x[at] = words[i / 16 % 4] * 0x1p-32 < share ? 0 : x[at] / (1 - share);
  }
  return x;
}

/// scale * (x [T, K] · A [r, K]ᵀ) · B [N, r]ᵀ: what an adapter adds to x · Wᵀ.
inline Numbers low_rank(const Numbers& x, const Numbers& a, const Numbers& b, std::int64_t k, double scale) {
  Numbers middle = times(x, a, k);
  for (double& number : middle) number *= scale;
  return times(middle, b, static_cast<std::int64_t>(a.size()) / k);
}

inline Numbers rms_normed(Numbers x, const Numbers& weight, double epsilon) {
  const std::size_t width = weight.size();
  for (std::size_t row = 0; row < x.size(); row += width) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += x[row + i] * x[row + i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (std::size_t i = 0; i < width; ++i) x[row + i] *= scale * weight[i];
  }
  return x;
}

inline Numbers layer_normed(Numbers x, const Numbers& weight, const Numbers& bias, double epsilon) {
  const std::size_t width = weight.size();
  for (std::size_t row = 0; row < x.size(); row += width) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < width; ++i) mean += x[row + i] / static_cast<double>(width);
    for (std::size_t i = 0; i < width; ++i)
      variance += (x[row + i] - mean) * (x[row + i] - mean) / static_cast<double>(width);
    for (std::size_t i = 0; i < width; ++i)
      x[row + i] = (x[row + i] - mean) / std::sqrt(variance + epsilon) * weight[i] + bias[i];
  }
  return x;
}

/// The tanh form.
inline Numbers gelu_of(Numbers x) {
  for (double& v : x) v *= (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v))) / 2;
  return x;
}

inline Numbers gated(const Numbers& gates, const Numbers& ups) {
  Numbers out;
  for (std::size_t i = 0; i < gates.size(); ++i) out.push_back(gates[i] / (1 + std::exp(-gates[i])) * ups[i]);
  return out;
}

/// Turns pair i of each head of a row at position p by p * frequencies[i].
inline Numbers rotated(Numbers x, const std::vector<std::int32_t>& positions,
                       const std::vector<float>& frequencies, bool interleaved) {
  const auto half = static_cast<std::int64_t>(frequencies.size()), d = 2 * half;
  const std::int64_t width = static_cast<std::int64_t>(x.size()) / std::ssize(positions);
  for (std::int64_t at = 0; at < std::ssize(x); at += d) {
    for (std::int64_t i = 0; i < half; ++i) {
      double& a = x[at + (interleaved ? 2 * i : i)];
      double& b = x[at + (interleaved ? 2 * i + 1 : i + half)];
      const double angle = positions[at / width] * double{frequencies[i]};
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = a * std::sin(angle) + b * std::cos(angle);
      a = turned;
    }
  }
  return x;
}

struct Heads {
  std::int64_t heads, kv_heads, d, window;
};

/// Causal attention within documents, which begin where positions are 0. Of the weights of head h dropout
/// leaves some out at site + h.
inline Numbers attended(const Numbers& q, const Numbers& k, const Numbers& v,
                        const std::vector<std::int32_t>& positions, const Heads& h, const Dropout& d = {},
                        std::uint32_t site = 0) {
  Numbers out(q.size());
  for (std::int64_t t = 0; t < std::ssize(positions); ++t) {
    const std::int64_t past =
        h.window > 0 ? std::min<std::int64_t>(positions[t], h.window - 1) : positions[t];
    for (std::int64_t head = 0; head < h.heads; ++head) {
      const std::int64_t at = (t * h.heads + head) * h.d, kv = head / (h.heads / h.kv_heads) * h.d;
      Numbers weights;
      double sum = 0;
      for (std::int64_t s = t - past; s <= t; ++s) {
        double score = 0;
        for (std::int64_t i = 0; i < h.d; ++i) score += q[at + i] * k[s * h.kv_heads * h.d + kv + i];
        weights.push_back(std::exp(score / std::sqrt(static_cast<double>(h.d))));
        sum += weights.back();
      }
      // A row of the whole document's positions, of which it sees those up to its own.
      Numbers row(positions[t] + 1);
      std::copy(weights.begin(), weights.end(), row.end() - past - 1);
      Dropout of_row = d;
      of_row.first_row += t;
      row = kept(row, of_row, d.attention, site + static_cast<std::uint32_t>(head), std::ssize(row));
      for (std::int64_t s = t - past; s <= t; ++s) {
        for (std::int64_t i = 0; i < h.d; ++i)
          out[at + i] += row[s - t + positions[t]] / sum * v[s * h.kv_heads * h.d + kv + i];
      }
    }
  }
  return out;
}

/// log(sum(exp(row))) of each row.
inline Numbers log_sums(const Numbers& logits, std::int64_t vocab) {
  Numbers out;
  for (auto row = logits.begin(); row != logits.end(); row += vocab) {
    const double largest = *std::max_element(row, row + vocab);
    double sum = 0;
    for (auto x = row; x != row + vocab; ++x) sum += std::exp(*x - largest);
    out.push_back(std::log(sum) + largest);
  }
  return out;
}

}  // namespace tw::ops
