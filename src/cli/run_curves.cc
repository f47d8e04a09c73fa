#include "cli/run_curves.h"

#include <set>
#include <string_view>

#include "base/json.h"
#include "base/mmap.h"

namespace tw::cli {
namespace {

void add_point(ChartLine& line, ChartPoint point) {
  while (!line.points.empty() && line.points.back().x >= point.x) line.points.pop_back();
  line.points.push_back(point);
}

void add_line(const base::Json& json, std::vector<ChartLine>& lines, std::set<std::string>& known) {
  if (!json.contains("step") || !json["step"].is_number()) return;
  const double step = json["step"].get<double>();
  for (const auto& [key, value] : json.items()) {
    if (!value.is_number() || key == "step") continue;
    known.insert(key);
    for (ChartLine& line : lines) {
      if (line.name == key) add_point(line, {step, value.get<double>()});
    }
  }
}

}  // namespace

base::Result<std::vector<ChartLine>> run_curves(const std::string& log,
                                                const std::vector<std::string>& names) {
  TW_ASSIGN_OR_RETURN(const base::MappedFile file, base::MappedFile::open(log));
  std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  std::vector<ChartLine> lines;
  lines.reserve(names.size());
  for (const std::string& name : names) lines.push_back({name, {}});
  std::set<std::string> known;
  for (int number = 1;; ++number) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // being written, or cut by a crash
    const auto json = base::parse_json(text.substr(0, end));
    if (!json.ok() || !json->is_object())
      return base::Error{base::Code::kCorrupt, "is no JSON object", fmt::format("{}:{}", log, number)};
    add_line(*json, lines, known);
    text.remove_prefix(end + 1);
  }
  if (!names.empty() && lines[0].points.empty()) {
    const std::string there = known.empty() ? "no numbers" : fmt::format("{}", fmt::join(known, ", "));
    return base::Error{base::Code::kInvalidArgument,
                       fmt::format("has no number \"{}\" in any step; it has {}", names[0], there), log};
  }
  return lines;
}

}  // namespace tw::cli
