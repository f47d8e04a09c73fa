#include "train/run_log.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/mmap.h"

namespace tw::train {
namespace {

using base::Code;
using base::Error;
using base::OrderedJson;

/// The lines of steps that are kept.
std::string kept(std::string_view text, std::int64_t last_step) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    const std::string_view line = text.substr(0, end + 1);
    text.remove_prefix(end + 1);
    const auto json = base::parse_json(line);
    if (!json.ok() || !json->is_object()) continue;
    const base::Json step = json->value("step", base::Json());
    if (step.is_number_integer() && step.get<std::int64_t>() <= last_step) out += line;
  }
  return out;
}

/// Seconds since 1970.
double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

base::Result<RunLog> RunLog::open(const std::string& folder, std::int64_t last_step, RunObserver& observer) {
  const std::string path = folder + "/log.jsonl", events = folder + "/tensorboard";
  constexpr std::size_t kMostBytes = std::size_t{1} << 32;
  const auto old = base::read_file(path, kMostBytes);
  if (old.ok()) {
    TW_RETURN_IF_ERROR(base::write_file_atomically(path, kept(*old, last_step)));
  } else if (old.error().code != Code::kNotFound) {
    return old.error();
  }
  std::error_code failed;
  std::filesystem::create_directories(events, failed);
  if (failed) return Error{Code::kIo, "cannot create the folder: " + failed.message(), events};
  TW_ASSIGN_OR_RETURN(EventFile numbers, EventFile::create(events, "tokenworks", last_step + 1, now()));
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr)
    return Error{Code::kIo, std::string("cannot be written: ") + std::strerror(errno), path};
  return RunLog(path, file, std::move(numbers), observer);
}

void RunLog::add(const OrderedJson& line) {
  const std::string text = base::dump_json(line) + "\n";
  base::Status written = base::Ok{};
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() || std::fflush(file_.get()) != 0)
    written = Error{Code::kIo, std::string("cannot be written: ") + std::strerror(errno), path_};
  events_.add(line, now());
  if (written.ok()) written = events_.written();
  if (written.ok() || std::exchange(told_, true)) return;
  observer_->note("the run goes on, but not all of its log is kept: " + written.error().text());
}

void RunLog::step(const StepLine& l) {
  OrderedJson line = {{"step", l.step},
                      {"stage", l.stage},
                      {"loss", l.loss},
                      {"rate", l.rate},
                      {"gradient_norm", l.gradient_norm}};
  for (const auto& [name, value] : l.more) line[name] = value;
  if (l.skipped) line["skipped"] = true;
  line["tokens"] = l.tokens;
  line["seconds"] = l.seconds;
  line["tokens_per_second"] = l.tokens_per_second;
  if (l.peak_share > 0) line["peak_share"] = l.peak_share;
  line["elapsed"] = l.elapsed;
  add(line);
}

}  // namespace tw::train
