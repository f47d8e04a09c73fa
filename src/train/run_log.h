// What a run notes of itself: log.jsonl (docs/formats/run_log.md), and the same numbers for TensorBoard.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "train/event_file.h"
#include "train/run_observer.h"

namespace tw::train {

/// Appends lines, each whole when the call returns. What a crash left of a line, and lines past the step that
/// a run goes on from, are taken out when it is opened. A line that cannot be written is given up: training
/// is worth more than its log.
class RunLog {
 public:
  /// FOLDER/log.jsonl and FOLDER/tensorboard/.
  static base::Result<RunLog> open(const std::string& folder, std::int64_t last_step);
  void step(const StepLine& line);
  void add(const base::OrderedJson& line);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  RunLog(std::FILE* file, EventFile events) : file_(file), events_(std::move(events)) {}
  std::unique_ptr<std::FILE, Close> file_;
  EventFile events_;
};

}  // namespace tw::train
