// The kernels of training that go over rows of numbers, for any vector width. A policy V has Floats, kLanes,
// and the arithmetic used below. Everything is internal to the including file.
#pragma once

#include <cstdint>

#include "kernels/args.h"

namespace tw::kernels {
namespace {

/// f(i, lanes) for [begin, end), vector by vector.
template <typename V, typename F>
void for_vectors(std::int64_t begin, std::int64_t end, const F& f) {
  for (std::int64_t i = begin; i < end; i += V::kLanes) f(i, end - i < V::kLanes ? end - i : V::kLanes);
}

template <typename V>
float dot(const float* a, const float* b, std::int64_t n) {
  typename V::Floats sum = V::all(0);
  for_vectors<V>(0, n, [&](std::int64_t i, std::int64_t lanes) {
    sum = V::fma(V::load(a + i, lanes), V::load(b + i, lanes), sum);
  });
  return V::sum_of(sum);
}

template <typename V>
void rms_norm_backward(const RmsNormBackwardArgs& a) {
  const auto width = static_cast<float>(a.width);
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    const float *x = a.x + t * a.width, *dy = a.d_out + t * a.width;
    float* dx = a.d_x + t * a.width;
    typename V::Floats products = V::all(0);
    for_vectors<V>(0, a.width, [&](std::int64_t i, std::int64_t lanes) {
      const typename V::Floats g = V::mul(V::load(dy + i, lanes), V::load(a.weight + i, lanes));
      products = V::fma(g, V::load(x + i, lanes), products);
    });
    const float r = 1.0F / __builtin_sqrtf(dot<V>(x, x, a.width) / width + a.epsilon);
    const typename V::Floats back = V::all(-V::sum_of(products) / width * r * r), scale = V::all(r);
    a.inverse[t] = r;
    for_vectors<V>(0, a.width, [&](std::int64_t i, std::int64_t lanes) {
      const typename V::Floats g = V::mul(V::load(dy + i, lanes), V::load(a.weight + i, lanes));
      const typename V::Floats d = V::fma(V::load(x + i, lanes), back, g);
      const typename V::Floats old = a.add ? V::load(dx + i, lanes) : V::all(0);
      V::store(dx + i, V::fma(d, scale, old), lanes);
    });
  }
}

/// kVectors of columns from `column` on, the last of `lanes`, down all rows: what lies beside each other in a
/// row is read together.
template <typename V, int kVectors>
void add_columns(const ColumnSumArgs& a, std::int64_t column, std::int64_t lanes) {
  typename V::Floats sums[kVectors];
  for (typename V::Floats& sum : sums) sum = V::all(0);
  for (std::int64_t t = 0; t < a.rows; ++t) {
    const std::int64_t row = t * a.stride + column;
    const typename V::Floats scale = V::all(a.scale == nullptr ? 1.0F : a.scale[t]);
    for (int j = 0; j < kVectors; ++j) {
      const std::int64_t at = row + j * V::kLanes, there = j == kVectors - 1 ? lanes : V::kLanes;
      const typename V::Floats factor = a.b == nullptr ? scale : V::mul(V::load(a.b + at, there), scale);
      sums[j] = V::fma(V::load(a.a + at, there), factor, sums[j]);
    }
  }
  for (int j = 0; j < kVectors; ++j) {
    float* to = a.sums + column + j * V::kLanes;
    const std::int64_t there = j == kVectors - 1 ? lanes : V::kLanes;
    V::store(to, V::add(V::load(to, there), sums[j]), there);
  }
}

template <typename V>
void add_column_sums(const ColumnSumArgs& a) {
  constexpr int kVectors = 8;
  constexpr std::int64_t kColumns = kVectors * V::kLanes;
  std::int64_t column = a.column_begin;
  for (; column + kColumns <= a.column_end; column += kColumns)
    add_columns<V, kVectors>(a, column, V::kLanes);
  for_vectors<V>(column, a.column_end,
                 [&](std::int64_t i, std::int64_t lanes) { add_columns<V, 1>(a, i, lanes); });
}

/// silu(gate) * up, and its gradients by gate and up for the gradient d of itself.
template <typename V>
struct GatedGradients {
  typename V::Floats d_gate, d_up, out;
};
template <typename V>
GatedGradients<V> gated_gradients(typename V::Floats gate, typename V::Floats up, typename V::Floats d) {
  const typename V::Floats one = V::all(1);
  const typename V::Floats sigmoid = V::div(one, V::add(one, V::exp(V::sub(V::all(0), gate))));
  const typename V::Floats silu = V::mul(gate, sigmoid);
  // silu'(x) = s (1 + x (1 - s))
  const typename V::Floats slope = V::mul(sigmoid, V::fma(gate, V::sub(one, sigmoid), one));
  return {V::mul(V::mul(d, up), slope), V::mul(d, silu), V::mul(silu, up)};
}

template <typename V>
void silu_mul_backward(const SiluMulBackwardArgs& a) {
  for_vectors<V>(a.begin, a.end, [&](std::int64_t i, std::int64_t lanes) {
    const GatedGradients<V> of =
        gated_gradients<V>(V::load(a.gate + i, lanes), V::load(a.up + i, lanes), V::load(a.out + i, lanes));
    V::store(a.gate + i, of.d_gate, lanes);
    V::store(a.up + i, of.d_up, lanes);
    V::store(a.out + i, of.out, lanes);
  });
}

template <typename V>
void cross_entropy(const CrossEntropyArgs& a) {
  for (std::int64_t t = a.row_begin; t < a.row_end; ++t) {
    float* row = a.logits + t * a.vocab;
    float largest = row[0];
    typename V::Floats most = V::all(largest), sum = V::all(0);
    for_vectors<V>(0, a.vocab, [&](std::int64_t i, std::int64_t lanes) {
      most = V::larger(most, V::load_or(row + i, lanes, largest));
    });
    largest = V::largest_of(most);
    for_vectors<V>(0, a.vocab, [&](std::int64_t i, std::int64_t lanes) {
      const typename V::Floats v = V::load_or(row + i, lanes, -1e30F);
      sum = V::add(sum, V::exp(V::sub(v, V::all(largest))));
    });
    const float total = V::sum_of(sum), log_sum = __builtin_logf(total) + largest;
    a.losses[t] = log_sum - row[a.targets[t]];
    if (a.weights == nullptr) continue;
    const float weight = a.weights[t] * a.weight_scale;
    const float scale = weight * (1.0F + 2.0F * a.z_loss * log_sum) / total;
    const typename V::Floats factor = V::all(scale);
    for_vectors<V>(0, a.vocab, [&](std::int64_t i, std::int64_t lanes) {
      V::store(row + i, V::mul(V::exp(V::sub(V::load(row + i, lanes), V::all(largest))), factor), lanes);
    });
    row[a.targets[t]] -= weight;
  }
}

/// Blocks of 16 columns by 64 rows, so that what is read and written stays in the nearest cache.
template <typename V>
void transpose(const TransposeArgs& a) {
  constexpr std::int64_t kColumns = 16, kRows = 64;
  for (std::int64_t r = 0; r < a.rows; r += kRows) {
    const std::int64_t rows = a.rows - r < kRows ? a.rows - r : kRows;
    for (std::int64_t c = a.column_begin; c < a.column_end; c += kColumns) {
      const std::int64_t columns = a.column_end - c < kColumns ? a.column_end - c : kColumns;
      for (std::int64_t j = 0; j < columns; ++j) {
        const std::int64_t at = (c + j) * a.out_stride + r;
        for_vectors<V>(0, rows, [&](std::int64_t i, std::int64_t lanes) {
          const typename V::Floats v =
              V::load_column(a.in + (r + i) * a.in_stride + c + j, a.in_stride, lanes);
          if (a.type == DType::kF32)
            V::store(static_cast<float*>(a.out) + at + i, v, lanes);
          else
            V::store_bf16(static_cast<std::uint16_t*>(a.out) + at + i, v, lanes);
        });
      }
    }
  }
}

template <typename V>
void round_bf16(const RoundArgs& a) {
  for_vectors<V>(a.begin, a.end, [&](std::int64_t i, std::int64_t lanes) {
    V::store_bf16(a.out + i, V::load(a.in + i, lanes), lanes);
  });
}

template <typename V>
void add(const AddArgs& a) {
  for_vectors<V>(a.begin, a.end, [&](std::int64_t i, std::int64_t lanes) {
    V::store(a.out + i, V::add(V::load(a.out + i, lanes), V::load(a.x + i, lanes)), lanes);
  });
}

template <typename V>
void adamw(const AdamWArgs& a) {
  const typename V::Floats scale = V::all(a.gradient_scale), keep = V::all(a.keep), beta1 = V::all(a.beta1),
                           beta2 = V::all(a.beta2), rest1 = V::all(1 - a.beta1), rest2 = V::all(1 - a.beta2),
                           step = V::all(-a.step), root = V::all(a.root_correction),
                           epsilon = V::all(a.epsilon);
  for_vectors<V>(a.begin, a.end, [&](std::int64_t i, std::int64_t lanes) {
    const typename V::Floats g = V::mul(V::load(a.gradient + i, lanes), scale);
    const typename V::Floats m = V::fma(V::load(a.first + i, lanes), beta1, V::mul(g, rest1));
    const typename V::Floats v = V::fma(V::load(a.second + i, lanes), beta2, V::mul(V::mul(g, g), rest2));
    const typename V::Floats move = V::div(m, V::fma(V::root(v), root, epsilon));
    V::store(a.first + i, m, lanes);
    V::store(a.second + i, v, lanes);
    V::store(a.weight + i, V::fma(move, step, V::mul(V::load(a.weight + i, lanes), keep)), lanes);
  });
}

/// Stretches of 1,024 are summed up in fp32.
template <typename V>
double sum_squares(const float* x, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; i += 1024)
    sum += dot<V>(x + i, x + i, count - i < 1024 ? count - i : 1024);
  return sum;
}

}  // namespace
}  // namespace tw::kernels
