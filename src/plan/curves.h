// Measured curves: how much of its peak an accelerator reaches, by what it is asked to do.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ops/exec.h"
#include "plan/catalogue.h"

namespace tw::plan {

/// Number formats that products are computed in.
enum class Precision { kBf16, kFp8, kFp4 };
Field peak_field(Precision precision);
/// "fp8" and "fp4"; anything else is bf16.
Precision precision_of(std::string_view name);
/// Whether it is one of NVIDIA's generation of 2024 and 2025.
bool is_blackwell(const Accelerator& accelerator);
/// Share of its peak that an accelerator sustains in large products, against H100 SXM's: 1 where nothing is
/// known against it.
double sustained_share(const Accelerator& accelerator);
/// Bytes of a weight; FP4 has scales of blocks of 16.
double weight_bytes(Precision precision);

/// y by x, both positive, straight between the points in log space and flat beyond them.
class LogCurve {
 public:
  void add(double x, double y);
  bool empty() const { return points_.empty(); }
  /// REQUIRES: not empty.
  double at(double x) const;
  double last_x() const;

 private:
  std::map<double, double> points_;  ///< ln x -> ln y
};

/// A curve's value and whether it was measured on this very accelerator.
struct CurveValue {
  double value = 0;
  Provenance provenance = Provenance::kMeasured;
};

/// The curves in the program (data/planner: aiconfigurator's GEMM utilisation and NCCL times, SimAI's
/// ratios).
class Curves {
 public:
  static const Curves& shipped();

  /// Share of the dense peak that a product of so many FLOPs reaches. What was not measured takes the median
  /// of those accelerators that were, as utilisation and not as time, and says extrapolated.
  CurveValue matmul_share(const Accelerator& accelerator, Precision precision, double flops) const;

  /// Seconds of a product of so many rows with a weight matrix of so many elements, launch and the rounding
  /// of its inputs included, at any number of rows: a step that generates has few, and is bound by the bytes
  /// of the weights. The fastest of a format's kernels and
  /// of shapes alike. What was not measured reaches the share of its roofline
  /// that the median of the others does, and says extrapolated. REQUIRES: the catalogue has peak and
  /// bandwidth.
  CurveValue product_seconds(const Accelerator& accelerator, Precision precision, double rows,
                             double weights) const;

  /// Seconds of a fused layer of experts that takes so many to read the weights of those hit at the memory's
  /// full bandwidth, and so many to multiply at the peak.
  CurveValue experts_seconds(const Accelerator& accelerator, double reading, double multiplying) const;

  /// Share of the 16-bit peak that fused causal attention of a prompt reaches, by the sequence's tokens.
  CurveValue attention_share(const Accelerator& accelerator, double tokens) const;

  /// Whether it can be said what collectives inside a domain take: they were measured, or the catalogue says
  /// how fast the lines are.
  base::Status need_collectives(const Accelerator& accelerator) const;
  /// Seconds of a collective inside a scale-up domain; `bytes` as NCCL counts them (of the whole tensor).
  /// REQUIRES: need_collectives(), or one rank.
  CurveValue collective_seconds(const Accelerator& accelerator, ops::Collective kind, int ranks,
                                double bytes) const;

 private:
  Curves();
  /// The name by which the measurements know an accelerator; empty: none.
  static std::string system_of(const Accelerator& accelerator);

  /// By rows, seconds by a weight's elements.
  using RowCurves = std::map<int, LogCurve>;
  static double seconds_of_rows(const RowCurves& curves, double rows, double weights);
  /// The kernels of a format: two for FP8.
  std::vector<const RowCurves*> kernels_of(const std::string& system, Precision precision) const;
  std::map<std::string, RowCurves> products_;  ///< "h100_sxm bfloat16"

  std::map<std::string, LogCurve> matmul_;                     ///< "h100_sxm bfloat16"
  std::map<std::string, std::map<int, LogCurve>> collective_;  ///< "h100_sxm all_reduce" -> ranks
};

}  // namespace tw::plan
