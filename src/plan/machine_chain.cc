#include "plan/machine_chain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace tw::plan {
namespace {

constexpr int kNumbers = 3;
using Numbers = std::array<double, kNumbers>;
/// A step's share of each number, and what is left for them; all divided by its seconds.
struct Row {
  Numbers share;
  double left;
  double weight = 1;
};

double error_of(const Row& row, const Numbers& numbers) {
  double error = row.left;
  for (int i = 0; i < kNumbers; ++i) error -= row.share[i] * numbers[i];
  return error;
}

/// Solves the normal equations for the numbers in `used` (bits); the others are 0. None: they cannot be told
/// apart.
std::optional<Numbers> least_squares(const std::vector<Row>& rows, unsigned used) {
  std::vector<int> which;
  for (int i = 0; i < kNumbers; ++i) {
    if ((used >> i & 1U) != 0) which.push_back(i);
  }
  const std::size_t n = which.size();
  std::array<std::array<double, kNumbers + 1>, kNumbers> a{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) a[i][j] += row.weight * row.share[which[i]] * row.share[which[j]];
      a[i][n] += row.weight * row.share[which[i]] * row.left;
    }
  }
  std::array<double, kNumbers> scale{};
  for (std::size_t i = 0; i < n; ++i) scale[i] = a[i][i];
  Numbers result{};
  for (std::size_t i = 0; i < n; ++i) {  // symmetric and positive: no pivots are sought
    if (!(a[i][i] > 1e-9 * scale[i])) return std::nullopt;
    for (std::size_t r = 0; r < n; ++r) {
      const double times = r == i ? 0 : a[r][i] / a[i][i];
      for (std::size_t c = i; c <= n; ++c) a[r][c] -= times * a[i][c];
    }
  }
  for (std::size_t i = 0; i < n; ++i) result[which[i]] = a[i][n] / a[i][i];
  return result;
}

double square_error(const std::vector<Row>& rows, const Numbers& numbers) {
  double sum = 0;
  for (const Row& row : rows) sum += row.weight * std::pow(error_of(row, numbers), 2);
  return sum;
}

/// Least squares with numbers from 0 on are those of one of the sets of numbers that are not 0.
Numbers least_squares_from_zero(const std::vector<Row>& rows) {
  Numbers best{};
  double least = square_error(rows, best);
  for (unsigned used = 1; used < 1U << kNumbers; ++used) {
    const std::optional<Numbers> found = least_squares(rows, used);
    if (!found || *std::ranges::min_element(*found) < 0) continue;
    if (const double error = square_error(rows, *found); error < least) least = error, best = *found;
  }
  return best;
}

}  // namespace

base::Result<ChainStep> chain_step(std::string what, StepKind kind, int threads, double seconds,
                                   const MachineCurves& curves, const StepSeconds& predict) {
  // Large enough that the difference of two sums has all its digits: a second each.
  MachineCurves asked = curves;
  const auto with = [&](const Between& between) {
    asked.set_between(kind, threads, between);
    return predict(asked);
  };
  ChainStep step{std::move(what), kind, threads, seconds, 0, 0, 0, 0};
  TW_ASSIGN_OR_RETURN(step.ops, with({}));
  TW_ASSIGN_OR_RETURN(step.hosts, with({1, 0, 0}));
  TW_ASSIGN_OR_RETURN(step.gaps, with({0, 1, 0}));
  TW_ASSIGN_OR_RETURN(step.bytes, with({0, 0, 1}));
  step.hosts -= step.ops, step.gaps -= step.ops, step.bytes -= step.ops;
  return step;
}

Between fit_between(const std::vector<ChainStep>& steps) {
  std::vector<Row> rows;
  rows.reserve(steps.size());
  for (const ChainStep& s : steps) {
    rows.push_back(
        {{s.hosts / s.seconds, s.gaps / s.seconds, s.bytes / s.seconds}, (s.seconds - s.ops) / s.seconds, 1});
  }
  // Whoever else runs makes some steps far slower and none faster: errors beyond kUsual count by their size
  // and not by its square (weights of the last round's errors).
  constexpr int kRounds = 20;
  constexpr double kUsual = 0.02;
  Numbers best = least_squares_from_zero(rows);
  for (int round = 0; round < kRounds; ++round) {
    for (Row& row : rows) row.weight = 1 / std::max(kUsual, std::fabs(error_of(row, best)));
    best = least_squares_from_zero(rows);
  }
  return {best[0], best[1], best[2]};
}

void set_between(const std::vector<ChainStep>& steps, MachineCurves& curves) {
  std::map<std::pair<StepKind, int>, std::vector<ChainStep>> groups;
  for (const ChainStep& step : steps) groups[{step.kind, step.threads}].push_back(step);
  for (const auto& [key, group] : groups) curves.set_between(key.first, key.second, fit_between(group));
}

}  // namespace tw::plan
