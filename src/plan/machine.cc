#include "plan/machine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/dtype.h"
#include "base/mmap.h"
#include "kernels/table.h"

namespace tw::plan {
namespace {

using base::Code;

constexpr std::string_view kFormat = "tokenworks calibration 3";
/// They know less of the machine: what lies between ops, and what is usual.
constexpr std::array<std::string_view, 2> kOldFormats = {"tokenworks calibration 1",
                                                         "tokenworks calibration 2"};
constexpr std::size_t kLargestFile = std::size_t{64} << 20;
constexpr std::size_t kMostPoints = 200000;

constexpr std::array<std::string_view, kMeasuredKinds> kKindNames = {"generated product",
                                                                     "prompt product",
                                                                     "train product",
                                                                     "generated attention",
                                                                     "prompt attention",
                                                                     "train attention",
                                                                     "rows",
                                                                     "train rows",
                                                                     "activation",
                                                                     "train activation",
                                                                     "loss",
                                                                     "optimizer",
                                                                     "pick",
                                                                     "step",
                                                                     "embed",
                                                                     "angles"};

constexpr std::array<std::string_view, 7> kColumns = {"kind", "type",  "threads", "rows",
                                                      "size", "place", "seconds"};

constexpr std::array<std::string_view, kStepKinds> kStepNames = {"generated", "prompt", "train"};
constexpr std::array<std::string_view, 5> kBetweenColumns = {"step", "threads", "host", "gap", "byte"};

constexpr std::array<std::string_view, 13> kKeys = {"format",
                                                    "processor",
                                                    "kernels",
                                                    "threads",
                                                    "mem_gb",
                                                    "mem_bw_gbs",
                                                    "bf16_dense_tflops",
                                                    "usual_barrier_s",
                                                    "usual_worker_tflops",
                                                    "columns",
                                                    "points",
                                                    "between_columns",
                                                    "between"};

/// y at x between the entries of a map by number, straight in log space: `of` makes an entry's y. Before the
/// first and behind the last y stays.
template <typename Map, typename Of>
double along(const Map& map, double x, Of of) {
  const auto above = map.lower_bound(x);
  if (above == map.begin()) return of(above->second);
  const auto below = std::prev(above);
  if (above == map.end()) return of(below->second);
  LogCurve line;
  line.add(below->first, of(below->second));
  line.add(above->first, of(above->second));
  return line.at(x);
}

bool positive(const base::Json& value, double most) {
  return value.is_number() && value.get<double>() > 0 && value.get<double>() <= most;
}

bool from_zero(const base::Json& seconds) {
  return seconds.is_number() && seconds.get<double>() >= 0 && seconds.get<double>() <= 1e6;
}

bool thread_count(const base::Json& value) {
  return positive(value, 4096) && value.get<double>() == std::floor(value.get<double>());
}

/// What is wrong with a point's line; empty: nothing.
std::string fault_of(const base::Json& line) {
  if (!line.is_array() || line.size() != kColumns.size())
    return fmt::format("has not the {} columns", kColumns.size());
  if (!line[0].is_string() || std::ranges::count(kKindNames, line[0].get<std::string>()) == 0)
    return "has a kind that is not known";
  if (!line[1].is_string() || line[1].get<std::string>().size() > 16) return "has a type that is no name";
  if (!thread_count(line[2])) return "has threads outside 1 to 4096";
  for (std::size_t i = 3; i < kColumns.size(); ++i) {
    if (!positive(line[i], 1e18)) return fmt::format("has {} that is not a positive number", kColumns[i]);
  }
  return {};
}

MeasuredPoint point_of(const base::Json& line) {
  const auto kind = std::ranges::find(kKindNames, line[0].get<std::string>()) - kKindNames.begin();
  return {static_cast<Measured>(kind), line[1].get<std::string>(), static_cast<int>(line[2].get<double>()),
          line[3].get<double>(),       line[4].get<double>(),      line[5].get<double>(),
          line[6].get<double>()};
}

/// The same of a line of what lies between ops.
std::string between_fault_of(const base::Json& line) {
  if (!line.is_array() || line.size() != kBetweenColumns.size())
    return fmt::format("has not the {} columns", kBetweenColumns.size());
  if (!line[0].is_string() || std::ranges::count(kStepNames, line[0].get<std::string>()) == 0)
    return "has a step that is not known";
  if (!thread_count(line[1])) return "has threads outside 1 to 4096";
  for (std::size_t i = 2; i < kBetweenColumns.size(); ++i) {
    if (!from_zero(line[i])) return fmt::format("has {} that is no number from 0 on", kBetweenColumns[i]);
  }
  return {};
}

base::Status check_head(const base::Json& json, const std::string& where) {
  const auto fault = [&](const std::string& what) {
    return base::error(Code::kCorrupt, "{}: {}; run `tokenworks plan calibrate` again", where, what);
  };
  for (const std::string_view old : kOldFormats) {
    if (json.is_object() && json.contains("format") && json["format"] == old)
      return fault(fmt::format("its \"format\" is \"{}\", and this program's is \"{}\"", old, kFormat));
  }
  if (!json.is_object() || !json.contains("format") || json["format"] != kFormat)
    return fault(fmt::format("this is no calibration (no \"format\": \"{}\")", kFormat));
  for (const auto& [key, value] : json.items()) {
    if (std::ranges::count(kKeys, key) == 0) return fault(fmt::format("there is no field \"{}\"", key));
  }
  for (const std::string_view key : kKeys) {
    if (!json.contains(key)) return fault(fmt::format("the field \"{}\" is missing", key));
  }
  for (const char* key : {"processor", "kernels"}) {
    if (!json[key].is_string()) return fault(fmt::format("\"{}\" is no text", key));
  }
  for (const char* key : {"threads", "mem_gb", "mem_bw_gbs", "bf16_dense_tflops", "usual_worker_tflops"}) {
    if (!positive(json[key], 1e9)) return fault(fmt::format("\"{}\" is not a positive number", key));
  }
  if (!from_zero(json["usual_barrier_s"])) return fault("\"usual_barrier_s\" is no number from 0 on");
  if (json["columns"] != base::Json(kColumns)) return fault("\"columns\" are not the known ones");
  const base::Json& points = json["points"];
  if (!points.is_array() || points.empty() || points.size() > kMostPoints)
    return fault(fmt::format("\"points\" is no list of 1 to {} measurements", kMostPoints));
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (const std::string what = fault_of(points[i]); !what.empty())
      return fault(fmt::format("point {} {}", i + 1, what));
  }
  if (json["between_columns"] != base::Json(kBetweenColumns))
    return fault("\"between_columns\" are not the known ones");
  const base::Json& between = json["between"];
  if (!between.is_array() || between.size() > kMostPoints) return fault("\"between\" is no list");
  for (std::size_t i = 0; i < between.size(); ++i) {
    if (const std::string what = between_fault_of(between[i]); !what.empty())
      return fault(fmt::format("line {} of \"between\" {}", i + 1, what));
  }
  return base::Ok{};
}

void read_between(const base::Json& lines, MachineCurves& m) {
  for (const base::Json& line : lines) {
    const auto kind = std::ranges::find(kStepNames, line[0].get<std::string>()) - kStepNames.begin();
    m.set_between(static_cast<StepKind>(kind), static_cast<int>(line[1].get<double>()),
                  {line[2].get<double>(), line[3].get<double>(), line[4].get<double>()});
  }
}

}  // namespace

std::string_view kind_name(StepKind kind) {
  return kStepNames[static_cast<std::size_t>(kind)];
}

std::vector<int> MachineCurves::thread_counts() const {
  std::set<int> counts;
  for (const MeasuredPoint& p : points_) counts.insert(p.threads);
  return {counts.begin(), counts.end()};
}

Between MachineCurves::between(StepKind kind, int count) const {
  const auto found = between_.find({kind, count});
  return found == between_.end() ? Between{} : found->second;
}

std::string_view kind_name(Measured kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

void MachineCurves::add(MeasuredPoint p) {
  curves_[{p.kind, p.type, p.threads}][p.place][p.rows].add(p.size, p.seconds);
  points_.push_back(std::move(p));
}

std::string MachineCurves::text() const {
  base::OrderedJson head = {{"format", kFormat},
                            {"processor", processor},
                            {"kernels", kernels},
                            {"threads", threads},
                            {"mem_gb", memory_gb},
                            {"mem_bw_gbs", bandwidth_gbs},
                            {"bf16_dense_tflops", teraflops},
                            {"usual_barrier_s", usual.barrier},
                            {"usual_worker_tflops", usual.flops / 1e12},
                            {"between_columns", kBetweenColumns},
                            {"between", base::OrderedJson::array()},
                            {"columns", kColumns}};
  for (const auto& [key, b] : between_)
    head["between"].push_back({kind_name(key.first), key.second, b.host, b.gap, b.byte});
  // A line a point, so that people can read it and tools can compare two.
  std::string text = base::dump_json(head);
  text.pop_back();
  text += ",\"points\":[";
  for (std::size_t i = 0; i < points_.size(); ++i) {
    const MeasuredPoint& p = points_[i];
    const base::OrderedJson line = {kind_name(p.kind), p.type, p.threads, p.rows, p.size, p.place, p.seconds};
    text += (i == 0 ? "\n" : ",\n") + base::dump_json(line);
  }
  return text + "\n]}\n";
}

base::Result<MachineCurves> MachineCurves::parse(std::string_view text, const std::string& where) {
  auto json = base::parse_json(text, 8);
  if (!json.ok()) return base::error(Code::kCorrupt, "{}: {}", where, json.error().text());
  TW_RETURN_IF_ERROR(check_head(*json, where));
  MachineCurves m;
  m.processor = (*json)["processor"].get<std::string>();
  m.kernels = (*json)["kernels"].get<std::string>();
  m.threads = static_cast<int>(std::min(4096.0, (*json)["threads"].get<double>()));
  m.memory_gb = (*json)["mem_gb"].get<double>();
  m.bandwidth_gbs = (*json)["mem_bw_gbs"].get<double>();
  m.teraflops = (*json)["bf16_dense_tflops"].get<double>();
  m.usual = {(*json)["usual_barrier_s"].get<double>(), (*json)["usual_worker_tflops"].get<double>() * 1e12};
  m.file = where;
  for (const base::Json& line : (*json)["points"]) m.add(point_of(line));
  read_between((*json)["between"], m);
  return m;
}

base::Result<std::shared_ptr<const MachineCurves>> MachineCurves::load(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return base::error(Code::kNotFound,
                       "this machine was not measured yet (there is no {}): run `tokenworks plan calibrate`",
                       path);
  }
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path, kLargestFile));
  TW_ASSIGN_OR_RETURN(MachineCurves curves, parse(text, path));
  return std::make_shared<const MachineCurves>(std::move(curves));
}

bool MachineCurves::has(Measured kind, std::string_view type, int count) const {
  return curves_.contains(Key{kind, std::string(type), count});
}

base::Status MachineCurves::need(Measured kind, std::string_view type, int count) const {
  if (has(kind, type, count)) return base::Ok{};
  return base::error(Code::kNotFound,
                     "{} has no \"{}\"{}{} on {} thread{}: run `tokenworks plan calibrate{}{} --threads {}`",
                     file.empty() ? "the calibration" : file, kind_name(kind), type.empty() ? "" : " of ",
                     type, count, count == 1 ? "" : "s", type.empty() ? "" : " --types ", type, count);
}

double MachineCurves::seconds(Measured kind, std::string_view type, int count, double rows, double size,
                              double place) const {
  const auto found = curves_.find(Key{kind, std::string(type), count});
  TW_CHECK(found != curves_.end(), "a curve that need() did not ask for");
  return along(found->second, place, [&](const ByRows& by_rows) {
    const double last = by_rows.rbegin()->first;
    return std::max(1.0, rows / last) * along(by_rows, rows, [&](const LogCurve& curve) {
             return curve.at(size) * std::max(1.0, size / curve.last_x());
           });
  });
}

Accelerator machine_accelerator(std::shared_ptr<const MachineCurves> curves) {
  Accelerator a;
  a.name = "this-machine";
  a.vendor = curves->processor;
  a.source = curves->file;
  a.provenance = Provenance::kMeasured;
  const auto set = [&](Field field, double value) { a.values[static_cast<int>(field)] = value; };
  set(Field::kBf16, curves->teraflops);
  set(Field::kMemory, curves->memory_gb);
  set(Field::kMemoryBandwidth, curves->bandwidth_gbs);
  set(Field::kScaleUpDomain, 1);
  a.machine = std::move(curves);
  return a;
}

}  // namespace tw::plan
