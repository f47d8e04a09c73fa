#include "plan/curves.h"

#include <algorithm>
#include <cmath>

#include "plan/csv.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

/// Calls f(row reader) for each row of a shipped file; its columns are known, so nothing can fail.
class Rows {
 public:
  explicit Rows(std::string_view file) : table_(parsed(file)) {}
  std::size_t size() const { return table_.rows(); }
  const std::string& text(std::size_t row, std::string_view name) const {
    return table_.text(row, column(name));
  }
  double number(std::size_t row, std::string_view name) const {
    const auto value = table_.number(row, column(name));
    TW_CHECK(value.ok() && value->has_value(), "a shipped curve has a field that is no number");
    return **value;
  }

 private:
  static CsvTable parsed(std::string_view file) {
    auto table = CsvTable::parse(shipped(file), std::string(file));
    TW_CHECK(table.ok(), "a shipped file is broken");
    return std::move(table).value();
  }
  std::size_t column(std::string_view name) const {
    const auto index = table_.column(name);
    TW_CHECK(index.ok(), "a shipped file lacks a column");
    return *index;
  }
  CsvTable table_;
};

const char* dtype_name(Precision precision) {
  return precision == Precision::kBf16 ? "bfloat16" : precision == Precision::kFp8 ? "fp8" : "nvfp4";
}

const char* collective_name(ops::Collective kind) {
  switch (kind) {
    case ops::Collective::kAllGather:
      return "all_gather";
    case ops::Collective::kReduceScatter:
      return "reduce_scatter";
    case ops::Collective::kAllToAll:
      return "alltoall";
    default:
      return "all_reduce";
  }
}

/// Bytes of which a collective's time is all latency.
constexpr double kLatencyBytes = 1024;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

Precision precision_of(std::string_view name) {
  return name == "fp8" ? Precision::kFp8 : name == "fp4" ? Precision::kFp4 : Precision::kBf16;
}

Field peak_field(Precision precision) {
  return precision == Precision::kBf16  ? Field::kBf16
         : precision == Precision::kFp8 ? Field::kFp8
                                        : Field::kFp4;
}

bool is_blackwell(const Accelerator& a) {
  return a.name.starts_with("B1") || a.name.starts_with("B2") || a.name.starts_with("B3") ||
         a.name.starts_with("GB");
}

double sustained_share(const Accelerator& a) {
  // Best measured products over the peak (stas00/ml-engineering, MAMF), over H100 SXM's 794.5 of 989.
  static constexpr std::pair<std::string_view, double> kMeasured[] = {
      {"MI300X", 668.0 / 1307}, {"MI355X", 1565.0 / 2500}, {"Gaudi3", 1243.0 / 1677}};
  constexpr double kH100 = 794.5 / 989;
  for (const auto& [beginning, share] : kMeasured) {
    if (a.name.starts_with(beginning)) return share / kH100;
  }
  // Cards of less power have the same chip: products that take 700 W of an H100 (990 TFLOP/s; an H200 draws
  // 690 of 700 W in them) are slower by as much.
  const auto peak = a.printed[static_cast<int>(Field::kBf16)], power = a[Field::kTdp];
  const bool hopper = a.name.starts_with("H100 ") || a.name.starts_with("H200 ");
  return hopper && peak && power ? std::min(1.0, *power / 700 * 989 / *peak) : 1;
}

double weight_bytes(Precision precision) {
  return precision == Precision::kBf16 ? 2 : precision == Precision::kFp8 ? 1 : 0.5625;
}

void LogCurve::add(double x, double y) {
  points_[std::log(x)] = std::log(y);
}

double LogCurve::last_x() const {
  TW_CHECK(!points_.empty(), "a curve without points");
  return std::exp(points_.rbegin()->first);
}

double LogCurve::at(double x) const {
  TW_CHECK(!points_.empty(), "a curve without points");
  const double lx = std::log(x);
  const auto above = points_.lower_bound(lx);
  if (above == points_.begin()) return std::exp(above->second);
  const auto below = std::prev(above);
  if (above == points_.end()) return std::exp(below->second);
  const double t = (lx - below->first) / (above->first - below->first);
  return std::exp(below->second + t * (above->second - below->second));
}

Curves::Curves() {
  const Rows gemm("aiconfigurator/gemm_efficiency_curve.csv");
  for (std::size_t i = 0; i < gemm.size(); ++i) {
    // A bin of a quarter decade stands at its middle.
    const double gigaflop = std::pow(10, gemm.number(i, "log10_gflop_bin") + 0.125);
    const double share = std::min(gemm.number(i, "util_median"), 1.0);
    matmul_[gemm.text(i, "system") + " " + gemm.text(i, "dtype")].add(gigaflop * 1e9, share);
  }
  const Rows by_rows("aiconfigurator/gemm_rows_curve.csv");
  for (std::size_t i = 0; i < by_rows.size(); ++i) {
    const int m = static_cast<int>(by_rows.number(i, "m"));
    products_[by_rows.text(i, "system") + " " + by_rows.text(i, "dtype")][m].add(
        by_rows.number(i, "n_times_k"), by_rows.number(i, "latency_us") * 1e-6);
  }
  const Rows nccl("aiconfigurator/nccl.csv");
  for (std::size_t i = 0; i < nccl.size(); ++i) {
    const int ranks = static_cast<int>(nccl.number(i, "n_gpus"));
    // Beyond four, L40S has no peer-to-peer path and the numbers are of its host (data/planner/README.md).
    if (nccl.text(i, "system") == "l40s" && ranks > 2) continue;
    collective_[nccl.text(i, "system") + " " + nccl.text(i, "collective")][ranks].add(
        nccl.number(i, "bytes"), nccl.number(i, "latency_ms") * 1e-3);
  }
}

const Curves& Curves::shipped() {
  static const Curves curves;
  return curves;
}

std::string Curves::system_of(const Accelerator& a) {
  static constexpr std::pair<std::string_view, std::string_view> kSystems[] = {
      {"A100 SXM", "a100_sxm"}, {"H100 SXM", "h100_sxm"}, {"H200 SXM", "h200_sxm"}, {"B200", "b200_sxm"},
      {"GB200", "gb200"},       {"B300", "b300_sxm"},     {"GB300", "gb300"},       {"L40S", "l40s"}};
  for (const auto& [beginning, system] : kSystems) {
    if (a.name.starts_with(beginning)) return std::string(system);
  }
  return {};
}

CurveValue Curves::matmul_share(const Accelerator& a, Precision precision, double flops) const {
  const auto own = matmul_.find(system_of(a) + " " + dtype_name(precision));
  if (own != matmul_.end()) return {own->second.at(flops), Provenance::kMeasured};
  std::vector<double> others;
  for (const auto& [name, curve] : matmul_) {
    if (name.ends_with(std::string(" ") + dtype_name(precision))) others.push_back(curve.at(flops));
  }
  return {median(others), Provenance::kExtrapolated};
}

double Curves::seconds_of_rows(const RowCurves& curves, double rows, double weights) {
  const auto seconds = [&](const LogCurve& curve) {
    // A launch takes what it takes; beyond the largest weight the bytes decide.
    return curve.at(weights) * std::max(1.0, weights / curve.last_x());
  };
  const auto above =
      std::find_if(curves.begin(), curves.end(), [&](const auto& c) { return c.first >= rows; });
  if (above == curves.begin()) return seconds(above->second);
  const auto below = std::prev(above);
  if (above == curves.end()) return seconds(below->second) * rows / below->first;
  LogCurve between;
  between.add(below->first, seconds(below->second));
  between.add(above->first, seconds(above->second));
  return between.at(rows);
}

std::vector<const Curves::RowCurves*> Curves::kernels_of(const std::string& system,
                                                         Precision precision) const {
  std::vector<const RowCurves*> kernels;
  for (const char* ending : {"", "_block"}) {
    const auto found = products_.find(system + " " + dtype_name(precision) + ending);
    if (found != products_.end()) kernels.push_back(&found->second);
  }
  return kernels;
}

namespace {

/// Seconds of a product at the peak and the bandwidth of `values`; 0: these are not known.
double roofline(const Accelerator& a, const FieldValues& values, Precision precision, double rows,
                double weights) {
  const auto of = [&](Field field) { return values[static_cast<int>(field)]; };
  const Field field = peak_field(precision);
  // A format that is not multiplied is widened on the way.
  const auto peak = of(field) ? of(field) : of(Field::kBf16) ? of(Field::kBf16) : of(Field::kFp16);
  const auto bandwidth = of(Field::kMemoryBandwidth);
  return peak && bandwidth ? std::max(2 * rows * weights / (*peak * 1e12 * sustained_share(a)),
                                      weights * weight_bytes(precision) / (*bandwidth * 1e9))
                           : 0;
}

}  // namespace

CurveValue Curves::product_seconds(const Accelerator& a, Precision precision, double rows,
                                   double weights) const {
  const auto fastest = [&](const std::vector<const RowCurves*>& kernels) {
    double least = INFINITY;
    for (const RowCurves* curves : kernels) least = std::min(least, seconds_of_rows(*curves, rows, weights));
    return least;
  };
  const auto best = [&](const Accelerator& x, const FieldValues& values) {
    return roofline(x, values, precision, rows, weights);
  };
  if (const auto own = kernels_of(system_of(a), precision); !own.empty()) {
    // With another peak or bandwidth than was measured they reach the same share of it.
    const double printed = best(a, a.printed), now = best(a, a.values);
    const double ratio = printed > 0 && now > 0 ? now / printed : 1;
    return {fastest(own) * ratio, ratio == 1 ? Provenance::kMeasured : Provenance::kExtrapolated};
  }
  std::vector<double> shares;
  for (const Accelerator& other : Catalogue::shipped().accelerators()) {
    const auto kernels = kernels_of(system_of(other), precision);
    const double least = best(other, other.values);
    if (!kernels.empty() && least > 0) shares.push_back(least / fastest(kernels));
  }
  return {best(a, a.values) / median(shares), Provenance::kExtrapolated};
}

CurveValue Curves::experts_seconds(const Accelerator& a, double reading, double multiplying) const {
  // Of aiconfigurator's fused-MoE table (H100: 3,375 points of three formats; B200: 1,050 of four). Reading:
  // the 90th percentile of the share of the roofline by its microseconds, alike on both within a tenth, for
  // software picks the fastest of several kernels; launching and sorting take about 20 us. Multiplying: what
  // 4,096 tokens and more take beyond, the 75th percentile of its share of the peak. Experts are hit as
  // independent choices would.
  static constexpr double kMicroseconds[] = {1, 3.16, 10, 31.6, 100, 316, 1000};
  static constexpr double kShares[] = {0.06, 0.16, 0.33, 0.52, 0.75, 0.80, 0.88};
  constexpr double kHopper = 0.5, kBlackwell = 0.22;
  LogCurve curve;
  for (int i = 0; i < 7; ++i) curve.add(kMicroseconds[i] * 1e-6, kShares[i]);
  const double first = kMicroseconds[0] * 1e-6;
  // Below the first point the floor stays.
  const double share = curve.at(std::max(reading, first)) * std::min(1.0, reading / first);
  const double peak_share = is_blackwell(a) ? kBlackwell : kHopper;
  const bool own = a.name.starts_with("H100") || a.name.starts_with("B200");
  return {(reading > 0 ? reading / share : 0) + multiplying / (peak_share * sustained_share(a)),
          own ? Provenance::kMeasured : Provenance::kExtrapolated};
}

CurveValue Curves::attention_share(const Accelerator& a, double tokens) const {
  // Medians of aiconfigurator's attention table, causal, heads of 128 (facts of 2026-11-22; H100 and A100
  // measured at 1k, 4k and 16k tokens, B200 by its own table).
  struct Row {
    std::string_view beginning;
    double share[3];
  };
  static constexpr Row kRows[] = {{"A100", {0.33, 0.43, 0.48}},
                                  {"B", {0.19, 0.36, 0.49}},
                                  {"GB", {0.19, 0.36, 0.49}},
                                  {"H", {0.28, 0.46, 0.55}}};
  const Row* row = &kRows[3];
  for (const Row& r : kRows) {
    if (a.name.starts_with(r.beginning)) row = &r;
  }
  LogCurve curve;
  for (int i = 0; i < 3; ++i) curve.add(1024 << (2 * i), row->share[i]);
  const bool own = a.name.starts_with("A100") || a.name.starts_with("H100") || a.name.starts_with("B200");
  return {curve.at(tokens), own ? Provenance::kMeasured : Provenance::kExtrapolated};
}

base::Status Curves::need_collectives(const Accelerator& a) const {
  if (collective_.contains(system_of(a) + " " + collective_name(ops::Collective::kAllReduce)))
    return base::Ok{};
  TW_RETURN_IF_ERROR(a.inside());
  return base::Ok{};
}

CurveValue Curves::collective_seconds(const Accelerator& a, ops::Collective kind, int ranks,
                                      double bytes) const {
  if (ranks <= 1) return {0, Provenance::kMeasured};
  const double way = kind == ops::Collective::kAllReduce ? 2 : 1;
  const auto own = collective_.find(system_of(a) + " " + collective_name(kind));
  if (own == collective_.end()) {
    // 10 microseconds and four fifths of the line rate, as NVLink without in-switch reduction reaches.
    const auto line = a.inside();
    TW_CHECK(line.ok(), "a collective whose links are not known");
    const double rate = line->value * 1e9 * 0.8;
    return {10e-6 + way * (ranks - 1) / ranks * bytes / rate, Provenance::kExtrapolated};
  }
  const auto& by_ranks = own->second;
  auto nearest = by_ranks.begin();
  for (auto it = by_ranks.begin(); it != by_ranks.end(); ++it) {
    if (it->first <= ranks) nearest = it;
  }
  const LogCurve& curve = nearest->second;
  const double inside = std::min(bytes, curve.last_x());
  // Beyond the largest message the bus bandwidth stays; with more ranks the bytes on the wire grow by
  // (n-1)/n.
  const double scale = bytes / inside * (static_cast<double>(ranks - 1) / ranks) /
                       (static_cast<double>(nearest->first - 1) / nearest->first);
  const bool measured = nearest->first == ranks && bytes <= curve.last_x();
  const auto printed = a.printed[static_cast<int>(Field::kScaleUpBandwidth)],
             now = a[Field::kScaleUpBandwidth];
  const double seconds = curve.at(inside) * scale;
  if (!printed || !now || *printed == *now)
    return {seconds, measured ? Provenance::kMeasured : Provenance::kExtrapolated};
  // Other lines than those that were measured: what is beyond the latency is as much longer or shorter.
  const double latency = std::min(seconds, curve.at(kLatencyBytes));
  return {latency + (seconds - latency) * *printed / *now, Provenance::kExtrapolated};
}

}  // namespace tw::plan
