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
/// a run goes on from, are taken out when it is opened. A line that cannot be written is given up, and the
/// observer told once: training is worth more than its log.
class RunLog {
 public:
  /// FOLDER/log.jsonl and FOLDER/tensorboard/. The observer must outlive it.
  static base::Result<RunLog> open(const std::string& folder, std::int64_t last_step, RunObserver& observer);
  void step(const StepLine& line);
  void add(const base::OrderedJson& line);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  RunLog(std::string path, std::FILE* file, EventFile events, RunObserver& observer)
      : path_(std::move(path)), file_(file), events_(std::move(events)), observer_(&observer) {}
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  EventFile events_;
  RunObserver* observer_;
  bool told_ = false;
};

}  // namespace tw::train
