#include "cli/train_screen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "cli/terminal.h"

namespace tw::cli {

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(std::clamp(seconds, 0.0, 1e12));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  if (whole < 48 * 3600) return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{:.1f} days", seconds / 86400);
}

TrainScreen::TrainScreen() : signals_({SIGINT, SIGTERM}) {}

/// Nothing is trained yet, and what is being written is whole or not there.
void TrainScreen::preparing(const std::string& what, double done) {
  if (signals_.take() != 0) {
    note("stopped before the first step; the same command begins again");
    std::fflush(nullptr);
    std::_Exit(0);
  }
  draw_progress(what, done);
  if (!interactive() && what != preparing_) std::fprintf(stderr, "%s\n", what.c_str());
  preparing_ = what;
}

void TrainScreen::note(const std::string& line) {
  clear_progress();
  std::fprintf(stderr, "tokenworks: %s\n", line.c_str());
}

std::string TrainScreen::text_of(const train::StepLine& line) const {
  std::string text = fmt::format("step {}  loss {:.4f}", line.step, line.loss);
  if (!line.more.empty()) text += fmt::format("  {} {:.4f}", line.more[0].first, line.more[0].second);
  if (validation_) text += fmt::format("  validation {:.4f}", *validation_);
  text += fmt::format("  {:.0f} tokens/s", line.tokens_per_second);
  if (line.peak_share > 0) text += fmt::format("  {:.1f} % of peak", 100 * line.peak_share);
  const double made = line.done - begun_at_;
  if (made > 0)
    text += "  " + duration_text((line.elapsed - begun_elapsed_) / made * (1 - line.done)) + " left";
  return text;
}

void TrainScreen::stepped(const train::StepLine& line) {
  if (begun_at_ < 0 || line.stage != stage_) {
    begun_at_ = line.done;
    begun_elapsed_ = line.elapsed;
    stage_ = line.stage;
  }
  const auto now = Clock::now();
  if (now - shown_ < (interactive() ? std::chrono::milliseconds(100) : std::chrono::seconds(5))) return;
  shown_ = now;
  if (interactive())
    draw_progress(text_of(line), line.done);
  else
    std::fprintf(stderr, "%3.0f %%  %s\n", 100 * line.done, text_of(line).c_str());
}

void TrainScreen::validated(std::int64_t step, double loss, bool whole) {
  validation_ = loss;
  if (interactive() && !whole) return;
  clear_progress();
  std::fprintf(stderr, "step %lld  validation loss %.4f%s\n", static_cast<long long>(step), loss,
               whole ? " (all validation text)" : "");
}

void TrainScreen::sampled(std::int64_t step, const std::string& text) {
  clear_progress();
  std::string shown;
  for (const char c : text.substr(0, 2000)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || (byte >= 0x20 && byte != 0x7F)) shown += c;  // a model may write escape sequences
  }
  std::fprintf(stderr, "--- a sample at step %lld\n%s\n---\n", static_cast<long long>(step), shown.c_str());
}

bool TrainScreen::stops() {
  stopped_ = stopped_ || signals_.take() != 0;
  return stopped_;
}

}  // namespace tw::cli
