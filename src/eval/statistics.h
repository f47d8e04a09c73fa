// A mean and how sure it is.
#pragma once

#include <cmath>
#include <cstdint>

namespace tw::eval {

/// Of numbers that come one after the other.
class Mean {
 public:
  void add(double x) {
    ++count_;
    sum_ += x;
    squares_ += x * x;
  }
  void add(const Mean& other) {
    count_ += other.count_;
    sum_ += other.sum_;
    squares_ += other.squares_;
  }
  std::int64_t count() const { return count_; }
  double sum() const { return sum_; }
  double value() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
  /// The standard error: the sample's deviation (n - 1) by the root of n; 0 for fewer than two numbers.
  double error() const {
    if (count_ < 2) return 0;
    const auto n = static_cast<double>(count_);
    return std::sqrt(std::fmax(0, squares_ - sum_ * sum_ / n) / (n - 1) / n);
  }

 private:
  std::int64_t count_ = 0;
  double sum_ = 0, squares_ = 0;
};

}  // namespace tw::eval
