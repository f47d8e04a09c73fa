#include "model/palette.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "kernels/ref/float16.h"

namespace tw::model {
namespace {

/// Most places where one entry's values may end and the next one's begin.
constexpr std::size_t kMostBins = 1024;
constexpr int kLloydSteps = 8;

struct Weighted {
  float value, weight;
};

/// Sums of the first so many items: weight, weight * x and weight * x^2, x being counted from the middle of
/// all, so that differences of the sums stay exact.
struct Sums {
  double weight = 0, first = 0, second = 0;

  Sums plus(const Weighted& item, double middle) const {
    const double w = static_cast<double>(item.weight), x = static_cast<double>(item.value) - middle;
    return {weight + w, first + w * x, second + w * x * x};
  }
  Sums minus(const Sums& other) const {
    return {weight - other.weight, first - other.first, second - other.second};
  }
  double mean() const { return first / weight; }
  /// Sum of weight * (x - mean)^2.
  double spread() const { return std::max(0.0, second - first * first / weight); }
};

/// Values in order, joined to at most kMostBins bins.
class Line {
 public:
  Line(std::span<const float> values, std::span<const float> weights) {
    for (std::size_t i = 0; i < values.size(); ++i)
      items_.push_back({values[i], weights.empty() ? 1.0F : weights[i]});
    std::ranges::sort(items_, {}, &Weighted::value);
    middle_ = static_cast<double>(items_[items_.size() / 2].value);
    sums_.resize(items_.size() + 1);
    for (std::size_t i = 0; i < items_.size(); ++i) sums_[i + 1] = sums_[i].plus(items_[i], middle_);
    const std::size_t least = items_.size() / kMostBins + 1;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (i == 0 || (items_[i].value != items_[i - 1].value && i - borders_.back() >= least))
        borders_.push_back(i);
    }
    borders_.push_back(items_.size());
  }

  std::size_t bins() const { return borders_.size() - 1; }
  /// Of bins [begin, end).
  Sums of_bins(std::size_t begin, std::size_t end) const {
    return sums_[borders_[end]].minus(sums_[borders_[begin]]);
  }
  /// Each number goes to the mean of what is nearest to it; one that has nothing stays.
  void improve(std::vector<double>& numbers) const {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      std::size_t end = items_.size();
      if (i + 1 < numbers.size()) {
        const double border = middle_ + (numbers[i] + numbers[i + 1]) / 2;
        const auto beyond = std::ranges::partition_point(
            items_, [&](const Weighted& item) { return static_cast<double>(item.value) <= border; });
        end = static_cast<std::size_t>(beyond - items_.begin());
      }
      if (end > begin) numbers[i] = sums_[end].minus(sums_[begin]).mean();
      begin = std::max(begin, end);
    }
  }
  double middle() const { return middle_; }

 private:
  std::vector<Weighted> items_;
  std::vector<Sums> sums_;            ///< [i]: of the first i items
  std::vector<std::size_t> borders_;  ///< where bins begin, and the end
  double middle_ = 0;
};

/// The cheapest division of the bins into `count` runs.
class Division {
 public:
  Division(const Line& line, std::size_t count) : line_(line), ends_(line.bins() + 1) {
    for (std::size_t end = 1; end < ends_; ++end) costs_.push_back(line.of_bins(0, end).spread());
    costs_.insert(costs_.begin(), 0.0);
    for (std::size_t runs = 2; runs <= count; ++runs) {
      before_ = costs_;
      begins_.emplace_back(ends_);
      fill(runs, ends_ - 1, runs - 1, ends_ - 2);
    }
  }
  /// The runs' means.
  std::vector<double> means() const {
    std::vector<double> means(begins_.size() + 1);
    std::size_t end = ends_ - 1;
    for (std::size_t run = means.size(); run-- > 0;) {
      const std::size_t begin = run == 0 ? 0 : begins_[run - 1][end];
      means[run] = line_.of_bins(begin, end).mean();
      end = begin;
    }
    return means;
  }

 private:
  /// Costs of the first `end` bins in one run more than before, for all ends in [from, to]; the last run
  /// begins in [least, most], and begins later the later it ends.
  void fill(std::size_t from, std::size_t to, std::size_t least, std::size_t most) {
    if (from > to) return;
    const std::size_t end = (from + to) / 2;
    double best = std::numeric_limits<double>::infinity();
    std::size_t best_begin = least;
    for (std::size_t begin = least; begin <= std::min(most, end - 1); ++begin) {
      const double cost = before_[begin] + line_.of_bins(begin, end).spread();
      if (cost < best) best = cost, best_begin = begin;
    }
    costs_[end] = best;
    begins_.back()[end] = best_begin;
    fill(from, end - 1, least, best_begin);
    fill(end + 1, to, best_begin, most);
  }

  const Line& line_;
  std::size_t ends_;
  std::vector<double> costs_, before_;            ///< of the first so many bins
  std::vector<std::vector<std::size_t>> begins_;  ///< of the last of 2, 3, ... runs, by their end
};

/// The entries as they are stored, and where one ends and the next begins.
class Table {
 public:
  Table(const std::vector<float>& numbers, std::uint16_t* stored) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      stored[i] = kernels::float_to_half(numbers[i]);
      entries_[i] = kernels::half_to_float(stored[i]);
      if (i > 0) borders_[i - 1] = (entries_[i - 1] + entries_[i]) / 2;
    }
    borders_end_ = numbers.size() - 1;
  }
  std::size_t nearest(float value) const {
    const auto end = borders_.begin() + static_cast<std::ptrdiff_t>(borders_end_);
    return static_cast<std::size_t>(std::upper_bound(borders_.begin(), end, value) - borders_.begin());
  }
  float entry(std::size_t code) const { return entries_[code]; }

 private:
  std::array<float, 16> entries_{}, borders_{};
  std::size_t borders_end_ = 0;
};

}  // namespace

std::vector<float> best_palette(std::span<const float> values, std::span<const float> weights,
                                std::size_t count) {
  const Line line(values, weights);
  std::vector<double> numbers = Division(line, std::min(count, line.bins())).means();
  for (int i = 0; i < kLloydSteps; ++i) line.improve(numbers);
  std::vector<float> palette;
  palette.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    palette.push_back(static_cast<float>(numbers[std::min(i, numbers.size() - 1)] + line.middle()));
  return palette;
}

Palettized::Palettized(int bits, std::int64_t rows, std::int64_t columns)
    : bits(bits), rows(rows), columns(columns) {
  codes.resize(static_cast<std::size_t>(rows) * row_bytes());
  tables.resize(static_cast<std::size_t>(groups()) << bits);
}

void palettize(Palettized& to, std::int64_t group, std::span<const float> values,
               std::span<const float> importance, PaletteError& error) {
  const auto columns = static_cast<std::size_t>(to.columns);
  std::vector<float> weights;
  for (std::size_t row = 0; row * columns < values.size() && !importance.empty(); ++row)
    weights.insert(weights.end(), importance.begin(), importance.end());
  const std::size_t count = std::size_t{1} << to.bits;
  const Table table(best_palette(values, weights, count),
                    to.tables.data() + static_cast<std::size_t>(group) * count);
  const std::size_t in_a_byte = 8 / static_cast<std::size_t>(to.bits);
  std::byte* codes = to.codes.data() + static_cast<std::size_t>(group * kPaletteRows) * to.row_bytes();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t code = table.nearest(values[i]);
    codes[i / in_a_byte] |=
        static_cast<std::byte>(code << (i % in_a_byte * static_cast<std::size_t>(to.bits)));
    const double weight = weights.empty() ? 1 : static_cast<double>(weights[i]),
                 value = static_cast<double>(values[i]), off = value - static_cast<double>(table.entry(code));
    error.lost += weight * off * off;
    error.whole += weight * value * value;
  }
}

namespace {

/// The types and shapes of the two fit each other.
bool fit(const io::TensorEntry& codes, const io::TensorEntry& tables) {
  return codes.shape.size() == 2 && tables.shape.size() == 2 && codes.dtype == base::DType::kI8 &&
         tables.dtype == base::DType::kF16 && (tables.shape[1] == 4 || tables.shape[1] == 16) &&
         tables.shape[0] == (codes.shape[0] + kPaletteRows - 1) / kPaletteRows;
}

/// What columns past the last are multiplied with is 0, which would not help against infinity.
bool is_finite(const io::TensorEntry& tables) {
  for (std::int64_t i = 0; i < tables.elements(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, tables.data + 2 * i, sizeof bits);
    if ((bits & 0x7C00U) == 0x7C00U) return false;
  }
  return true;
}

}  // namespace

base::Result<const io::TensorEntry*> PaletteTensors::get(const std::string& name,
                                                         const io::TensorEntry& codes,
                                                         const io::TensorEntry& tables,
                                                         const std::string& where) {
  const std::lock_guard lock(mutex_);
  if (const auto found = joined_.find(name); found != joined_.end()) return &found->second;
  if (!fit(codes, tables)) {
    return base::Error{
        base::Code::kCorrupt,
        fmt::format(
            "tensor {} has codes {} of type {} and palettes {} of type {}: 16 rows of I8 codes should "
            "share one row of 4 or 16 numbers of F16",
            io::quote_text(name), io::shape_text(codes.shape), base::dtype_name(codes.dtype),
            io::shape_text(tables.shape), base::dtype_name(tables.dtype)),
        where};
  }
  if (!is_finite(tables)) {
    return base::Error{
        base::Code::kCorrupt,
        fmt::format("the palettes of tensor {} hold a number that is not finite", io::quote_text(name)),
        where};
  }
  const bool four = tables.shape[1] == 16;
  io::TensorEntry entry = codes;
  entry.name = name;
  entry.dtype = four ? base::DType::kPalette4 : base::DType::kPalette2;
  entry.shape[1] *= four ? 2 : 4;
  entry.palettes = tables.data;
  return &joined_.emplace(name, std::move(entry)).first->second;
}

}  // namespace tw::model
