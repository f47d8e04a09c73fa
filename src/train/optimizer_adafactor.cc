#include <algorithm>
#include <cmath>
#include <numeric>

#include "train/optimizer_rules.h"

namespace tw::train {
namespace {

/// What a step's squares weigh against those that were.
float share_of(const OptimizerStep& step) {
  constexpr double kFalling = -0.8;
  return static_cast<float>(std::pow(static_cast<double>(step.number), kFalling));
}

/// mean += share * (sum / count - mean).
void learn_mean(float& mean, double sum, std::int64_t count, float share) {
  mean += share * (static_cast<float>(sum / static_cast<double>(count)) - mean);
}

/// The gradient of a vector becomes its update.
void scale_vector(const OptimizerStep& step, const OptimizerParam& p) {
  const float share = share_of(step), most = static_cast<float>(1 / step.options.epsilon);
  step.ex.slice(p.param.elements(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = p.gradient[i] * step.gradient_scale;
      learn_mean(p.state[0][i], double{g} * g, 1, share);
      p.gradient[i] = g * std::min(most, 1 / std::sqrt(p.state[0][i]));
    }
  });
}

/// The mean squares of rows and columns. Ends with a barrier.
void learn_squares(const OptimizerStep& step, const OptimizerParam& p, std::span<float> sums) {
  ops::Exec& ex = step.ex;
  const std::int64_t rows = p.param.shape[0], columns = p.param.shape[1];
  const double scale = double{step.gradient_scale} * step.gradient_scale;
  const float share = share_of(step);
  const float* g = p.gradient.data();
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      double sum = 0;
      for (std::int64_t at = 0; at < columns; at += kSquareChunk)
        sum += ex.table().train.sum_squares(g + row * columns + at, std::min(kSquareChunk, columns - at));
      learn_mean(p.state[0][row], scale * sum, columns, share);
    }
  });
  ex.slice(columns, 16, [&](std::int64_t begin, std::int64_t end) {
    std::fill(sums.begin() + begin, sums.begin() + end, 0.0F);
    ex.table().train.add_column_sums({g, g, nullptr, sums.data(), rows, begin, end, columns});
    for (std::int64_t i = begin; i < end; ++i) learn_mean(p.state[1][i], scale * sums[i], rows, share);
  });
  ex.barrier();
}

/// The gradient of a matrix becomes its update. The square that a weight is divided by is row · column / mean
/// of rows, whose root is taken of rows and columns alone.
void scale_matrix(const OptimizerStep& step, const OptimizerParam& p) {
  ops::Exec& ex = step.ex;
  const std::int64_t rows = p.param.shape[0], columns = p.param.shape[1];
  const ops::Tensor roots = ex.temporary({columns});
  if (ex.tracing()) return;
  const std::span<float> by_column(roots.f32(), columns);
  learn_squares(step, p, by_column);
  ex.slice(columns, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) by_column[i] = 1 / std::sqrt(p.state[1][i]);
  });
  const double mean = std::accumulate(p.state[0].begin(), p.state[0].end(), 0.0) / static_cast<double>(rows);
  const float least = std::max(static_cast<float>(mean), static_cast<float>(step.options.epsilon));
  const auto most = static_cast<float>(1 / step.options.epsilon);
  ex.barrier();
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float by_row = 1 / std::sqrt(p.state[0][row] / least), scale = step.gradient_scale;
      float* g = p.gradient.data() + row * columns;
      const float* column = by_column.data();
      for (std::int64_t i = 0; i < columns; ++i) {
        const float root = by_row * column[i];  // infinite, or not a number, where all gradients were 0
        g[i] *= scale * (root < most ? root : most);
      }
    }
  });
}

double root_mean(const OptimizerStep& step, std::span<const float> numbers) {
  const double sum = square_sum(step.ex, numbers, step.sums);
  step.ex.barrier();  // the memory of sums is used again
  return std::sqrt(sum / static_cast<double>(numbers.size()));
}

}  // namespace

void adafactor_update(const OptimizerStep& step, const OptimizerParam& p) {
  constexpr double kSmallestScale = 1e-3;
  ops::Exec& ex = step.ex;
  if (p.param.shape.size() < 2 && ex.tracing()) return;
  p.param.shape.size() < 2 ? scale_vector(step, p) : scale_matrix(step, p);
  if (ex.tracing()) return;
  const double scale = root_mean(step, p.weight);
  const double norm = root_mean(step, p.gradient);
  const double rate = std::min(step.rate, 1 / std::sqrt(static_cast<double>(step.number)));
  const auto move = static_cast<float>(std::max(kSmallestScale, scale) * rate / std::max(1.0, norm));
  ex.slice(p.param.elements(), 64, [&](std::int64_t begin, std::int64_t end) {
    float* weight = p.weight.data();
    const float* update = p.gradient.data();
    for (std::int64_t i = begin; i < end; ++i) weight[i] = p.keep * weight[i] - move * update[i];
  });
}

}  // namespace tw::train
