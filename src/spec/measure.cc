#include "spec/measure.h"

#include <charconv>
#include <cmath>
#include <span>

namespace tw::spec {
namespace {

struct Unit {
  std::string_view name;
  double factor;
  bool printed = true;  ///< measure_text uses it
};

constexpr Unit kCounts[] = {{"T", 1e12},       {"B", 1e9},        {"M", 1e6},
                            {"K", 1e3, false}, {"k", 1e3, false}, {"", 1}};
constexpr Unit kBytes[] = {
    {"PB", 1e15},           {"TB", 1e12},           {"GB", 1e9},           {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
    {"TiB", 0x1p40, false}, {"GiB", 0x1p30, false}, {"MiB", 0x1p20, false}};
constexpr Unit kRates[] = {{"TB/s", 1e12},           {"GB/s", 1e9},          {"MB/s", 1e6}, {"B/s", 1},
                           {"Tb/s", 1.25e11, false}, {"Gb/s", 1.25e8, false}};
constexpr Unit kFlops[] = {{"PFLOP/s", 1e15}, {"TFLOP/s", 1e12}, {"GFLOP/s", 1e9}};
constexpr Unit kWatts[] = {{"GW", 1e9}, {"MW", 1e6}, {"kW", 1e3}, {"W", 1}};
constexpr Unit kSeconds[] = {{"years", 365.25 * 86400},
                             {"days", 86400},
                             {"h", 3600},
                             {"min", 60},
                             {"s", 1},
                             {"ms", 1e-3},
                             {"us", 1e-6},
                             {"year", 365.25 * 86400, false},
                             {"day", 86400, false},
                             {"hours", 3600, false}};
constexpr Unit kUsd[] = {{"B USD", 1e9}, {"M USD", 1e6}, {"k USD", 1e3, false}, {"USD", 1}};
constexpr Unit kUsdPerHour[] = {{"USD/h", 1}};
constexpr Unit kUsdPerKwh[] = {{"USD/kWh", 1}, {"USD/MWh", 1e-3, false}};
constexpr Unit kGrams[] = {{"g/kWh", 1}, {"kg/kWh", 1e3, false}};

std::span<const Unit> units_of(Dimension dimension) {
  switch (dimension) {
    case Dimension::kCount:
      return kCounts;
    case Dimension::kBytes:
      return kBytes;
    case Dimension::kBytesPerSecond:
      return kRates;
    case Dimension::kFlopsPerSecond:
      return kFlops;
    case Dimension::kWatts:
      return kWatts;
    case Dimension::kSeconds:
      return kSeconds;
    case Dimension::kUsd:
      return kUsd;
    case Dimension::kUsdPerHour:
      return kUsdPerHour;
    case Dimension::kUsdPerKwh:
      return kUsdPerKwh;
    case Dimension::kGramsPerKwh:
      return kGrams;
  }
  return {};
}

/// What a number without a unit most likely meant.
std::string_view usual_unit(Dimension dimension) {
  if (dimension == Dimension::kBytes) return "GB";
  if (dimension == Dimension::kBytesPerSecond) return "GB/s";
  if (dimension == Dimension::kFlopsPerSecond) return "TFLOP/s";
  for (const Unit& unit : units_of(dimension)) {
    if (unit.factor == 1) return unit.name;
  }
  return {};
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

base::Result<double> parse_measure(Dimension dimension, std::string_view text) {
  const std::span<const Unit> units = units_of(dimension);
  const std::string_view whole = trimmed(text);
  double number = 0;
  const auto [end, problem] = std::from_chars(whole.data(), whole.data() + whole.size(), number);
  std::string listed;
  for (const Unit& unit : units) {
    if (!unit.name.empty()) listed += (listed.empty() ? "" : ", ") + std::string(unit.name);
  }
  if (problem != std::errc() || !std::isfinite(number))
    return dimension == Dimension::kCount
               ? base::error(base::Code::kInvalidArgument, "\"{}\" is no number ({} may follow one)", whole,
                             listed)
               : base::error(base::Code::kInvalidArgument, "\"{}\" is no number with a unit ({})", whole,
                             listed);
  if (number < 0) return base::error(base::Code::kInvalidArgument, "\"{}\" is negative", whole);
  const std::string_view unit_text = trimmed(whole.substr(end - whole.data()));
  for (const Unit& unit : units) {
    if (unit.name != unit_text) continue;
    if (std::isfinite(number * unit.factor)) return number * unit.factor;
    return base::error(base::Code::kInvalidArgument, "\"{}\" is too large", whole);
  }
  if (unit_text.empty())
    return base::error(base::Code::kInvalidArgument, "\"{}\" needs a unit, such as \"{} {}\" (there are {})",
                       whole, whole, usual_unit(dimension), listed);
  return base::error(base::Code::kInvalidArgument, "\"{}\" has the unit \"{}\", but must have one of {}",
                     whole, unit_text, listed);
}

std::string measure_text(Dimension dimension, double value) {
  const Unit* best = nullptr;
  for (const Unit& unit : units_of(dimension)) {
    if (!unit.printed) continue;
    best = &unit;
    if (std::fabs(value) >= unit.factor * 0.9995) break;
  }
  const double scaled = value / best->factor;
  const double size = std::fabs(scaled);
  const int digits = size >= 100 || size == 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return fmt::format("{:.{}f}{}{}", scaled, digits,
                     best->name.empty() || dimension == Dimension::kCount ? "" : " ", best->name);
}

}  // namespace tw::spec
