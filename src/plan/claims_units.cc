#include "plan/claims_units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace tw::plan {
namespace {

using base::Code;
using base::OrderedJson;
using spec::Dimension;

/// What parse_measure answers in, of each dimension that has a unit.
constexpr std::pair<Dimension, const char*> kBaseUnits[] = {{Dimension::kBytes, "B"},
                                                            {Dimension::kBytesPerSecond, "B/s"},
                                                            {Dimension::kFlopsPerSecond, "FLOP/s"},
                                                            {Dimension::kWatts, "W"},
                                                            {Dimension::kSeconds, "s"},
                                                            {Dimension::kUsd, "USD"},
                                                            {Dimension::kUsdPerHour, "USD/h"},
                                                            {Dimension::kUsdPerKwh, "USD/kWh"},
                                                            {Dimension::kGramsPerKwh, "g/kWh"}};

ClaimUnit base_unit(Dimension dimension) {
  for (const auto& [d, name] : kBaseUnits) {
    if (d == dimension) return {name, dimension, 1};
  }
  return {};
}

/// One number, without a range.
base::Result<double> read_plain(const OrderedJson& value, const ClaimUnit& unit) {
  if (!value.is_number() && !value.is_string())
    return base::error(Code::kInvalidArgument, "{} is neither a number nor text", value.dump());
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (unit.dimension) {
    TW_ASSIGN_OR_RETURN(const double base, spec::parse_measure(*unit.dimension, text));
    return base / unit.factor;
  }
  // "8000 accelerators", "99 %": the unit may always be said, and must be where it could be mistaken.
  std::string_view left = text;
  const bool said = unit.name != "1" && left.size() > unit.name.size() && left.ends_with(unit.name) &&
                    std::string_view(" 0123456789.").find(left[left.size() - unit.name.size() - 1]) !=
                        std::string_view::npos;
  if (said) left.remove_suffix(unit.name.size());
  const auto number = spec::parse_measure(Dimension::kCount, left);
  const bool negative = !number.ok() && !left.empty() && left.front() == '-';
  if (!number.ok() && unit.name != "1")
    return base::error(Code::kInvalidArgument, "{}: it is counted in {}", number.error().message, unit.name);
  if (!number.ok() && !negative)
    return base::error(
        Code::kInvalidArgument,
        "\"{}\" is no pure number, and no number with a unit that is known (such as s, W, B, GB/s, "
        "TFLOP/s, USD)",
        text);
  if (number.ok() && !said && !unit.may_be_left_out())
    return base::error(Code::kInvalidArgument, "\"{0}\" needs its unit: \"{0} {1}\"", text, unit.name);
  return number;
}

base::Result<Provenance> provenance_of(const OrderedJson& value) {
  std::string names;
  for (const Provenance p : {Provenance::kMeasured, Provenance::kDatasheet, Provenance::kVendorClaim,
                             Provenance::kExtrapolated, Provenance::kAssumed}) {
    if (value.is_string() && value.get<std::string>() == provenance_name(p)) return p;
    names += (names.empty() ? "" : ", ") + std::string(provenance_name(p));
  }
  return base::error(Code::kInvalidArgument, "provenance {} is none of {}", value.dump(), names);
}

}  // namespace

bool ClaimUnit::may_be_left_out() const {
  if (dimension) return false;
  if (name == "1" || name == "x") return true;
  return name.size() >= 3 &&
         std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

base::Result<ClaimUnit> parse_claim_unit(std::string_view text) {
  const bool word = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
  const bool digit = !text.empty() && text[0] >= '0' && text[0] <= '9';
  if (text.empty() || text.size() > 32 || !word || (digit && text != "1") ||
      text.find_first_of(":,;") != std::string_view::npos)
    return base::error(
        Code::kInvalidArgument,
        "\"{}\" is no unit: it is one word, such as \"s\", \"GB/s\", \"accelerators\", \"x\" or, of "
        "a pure number, \"1\"; words about a number are a text of their own",
        text);
  for (const auto& [dimension, name] : kBaseUnits) {
    if (text == name) return base_unit(dimension);
    if (const auto one = spec::parse_measure(dimension, "1 " + std::string(text)); one.ok())
      return ClaimUnit{std::string(text), dimension, *one};
  }
  return ClaimUnit{std::string(text), std::nullopt, 1};
}

bool differ_by_a_factor(std::string_view from, std::string_view to) {
  if (from == to) return false;
  const auto a = parse_claim_unit(from), b = parse_claim_unit(to);
  return a.ok() && b.ok() && a->dimension && b->dimension == a->dimension;
}

ClaimUnit unit_of_input(const std::string& name, const OrderedJson& value) {
  // Names that leave no doubt what is meant, and every doubt in which unit.
  static constexpr std::pair<std::string_view, Dimension> kWords[] = {
      {"duration", Dimension::kSeconds}, {"time", Dimension::kSeconds},
      {"power", Dimension::kWatts},      {"watts", Dimension::kWatts},
      {"price", Dimension::kUsd},        {"cost", Dimension::kUsd},
      {"memory", Dimension::kBytes},     {"bandwidth", Dimension::kBytesPerSecond}};
  const std::size_t bar = name.rfind('_');
  const std::string last = bar == std::string::npos ? name : name.substr(bar + 1);
  for (const auto& [word, dimension] : kWords) {
    if (last == word) return base_unit(dimension);
  }
  const OrderedJson& written = value.is_object() && value.contains("value") ? value["value"] : value;
  if (!written.is_string()) return {};
  const auto text = written.get<std::string>();
  if (spec::parse_measure(Dimension::kCount, text).ok()) return {};
  for (const auto& [dimension, unit] : kBaseUnits) {
    if (spec::parse_measure(dimension, text).ok()) return base_unit(dimension);
  }
  return {};
}

base::Result<Quantity> read_claim_number(const OrderedJson& value, const ClaimUnit& unit,
                                         Provenance provenance) {
  if (!value.is_object()) {
    TW_ASSIGN_OR_RETURN(const double number, read_plain(value, unit));
    return Quantity::around(number, 0, unit.name, provenance);
  }
  static constexpr std::array<std::string_view, 5> kFields = {"value", "low", "high", "provenance", "note"};
  for (const auto& [key, ignored] : value.items()) {
    if (std::ranges::find(kFields, key) == kFields.end())
      return base::error(Code::kInvalidArgument, "there is no field \"{}\" in a number: there are {}", key,
                         fmt::join(kFields, ", "));
  }
  if (!value.contains("value"))
    return base::error(Code::kInvalidArgument, "it has no \"value\", with low, high, provenance and note");
  if (value.contains("note") && !value["note"].is_string())
    return base::error(Code::kInvalidArgument, "\"note\" is no text");
  Quantity q{0, 0, 0, unit.name, provenance};
  TW_ASSIGN_OR_RETURN(q.value, read_plain(value["value"], unit));
  q.low = q.high = q.value;
  if (value.contains("low")) {
    TW_ASSIGN_OR_RETURN(q.low, read_plain(value["low"], unit));
  }
  if (value.contains("high")) {
    TW_ASSIGN_OR_RETURN(q.high, read_plain(value["high"], unit));
  }
  if (value.contains("provenance")) {
    TW_ASSIGN_OR_RETURN(q.provenance, provenance_of(value["provenance"]));
  }
  if (q.low > q.value || q.value > q.high)
    return base::error(Code::kInvalidArgument, "its value {:g} is not within low {:g} and high {:g}", q.value,
                       q.low, q.high);
  return q;
}

}  // namespace tw::plan
