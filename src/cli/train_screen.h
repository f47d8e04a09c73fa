// What a person sees of a training run: a bar that is drawn over itself, or plain lines where there is no
// terminal; samples; notes.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "cli/signal_pipe.h"
#include "train/run_observer.h"

namespace tw::cli {

/// Also asks for SIGINT and SIGTERM, which end the run with everything saved.
class TrainScreen : public train::RunObserver {
 public:
  TrainScreen();
  void preparing(const std::string& what, double done) override;
  void note(const std::string& line) override;
  void stepped(const train::StepLine& line) override;
  void validated(std::int64_t step, double loss, bool whole) override;
  void sampled(std::int64_t step, const std::string& text) override;
  bool stops() override;

 private:
  using Clock = std::chrono::steady_clock;
  std::string text_of(const train::StepLine& line) const;

  SignalPipe signals_;
  bool stopped_ = false;
  std::string preparing_;
  Clock::time_point shown_;
  std::optional<double> validation_;
  double begun_at_ = -1, begun_elapsed_ = 0;  ///< where this process took the stage up
  std::size_t stage_ = 0;
};

/// "3:07", "2 h 5 min", "4.2 days".
std::string duration_text(double seconds);

}  // namespace tw::cli
