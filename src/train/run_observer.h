// What a training run tells while it goes, and what it asks: the verb draws it, tests collect it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tw::train {

/// One optimizer step, as log.jsonl has it (docs/formats/run_log.md).
struct StepLine {
  std::int64_t step = 0;  ///< of the run, from 1
  std::size_t stage = 0;
  double loss = 0, rate = 0, gradient_norm = 0;
  bool skipped = false;
  std::int64_t tokens = 0;
  double seconds = 0, tokens_per_second = 0, peak_share = 0;
  double done = 0;     ///< of the stage: by steps or by time, 0 to 1
  double elapsed = 0;  ///< seconds of the stage
  /// What else is known of what was learnt, by the log's names; the first is for the screen.
  std::vector<std::pair<const char*, double>> more = {};
};

/// All on the thread that runs. The defaults ignore what they are told.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  /// What is being prepared, and how much of it is done (0 to 1).
  virtual void preparing(const std::string& /*what*/, double /*done*/) {}
  /// A line that people should see: a damaged checkpoint, a step back.
  virtual void note(const std::string& /*line*/) {}
  virtual void stepped(const StepLine& /*line*/) {}
  /// `whole`: on all of the validation text.
  virtual void validated(std::int64_t /*step*/, double /*loss*/, bool /*whole*/) {}
  virtual void sampled(std::int64_t /*step*/, const std::string& /*text*/) {}
  /// True: save and leave. Asked between steps.
  virtual bool stops() { return false; }
};

}  // namespace tw::train
