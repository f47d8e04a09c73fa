#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/env.h"
#include "base/utf8.h"

namespace tw::cli {

bool takes_escapes(int fd) {
  const std::string term = base::env::term().value_or("dumb");
  return ::isatty(fd) == 1 && term != "dumb" && term != "emacs";
}

bool interactive() {
  return takes_escapes(STDERR_FILENO);
}

namespace {

/// Columns that a line may fill; the last one stays empty, because terminals differ in what it does.
int line_width() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? std::max(size.ws_col - 1, 1) : 79;
}

}  // namespace

void draw_line(std::string_view text) {
  if (!interactive()) return;
  // A line that wraps would scroll instead of being drawn over.
  text = text.substr(0, static_cast<std::size_t>(line_width()));
  text = text.substr(0, base::complete_utf8_prefix(text));
  std::fprintf(stderr, "\r%.*s\x1b[K", static_cast<int>(text.size()), text.data());
  std::fflush(stderr);
}

void draw_progress(const std::string& label, double done) {
  constexpr int kAround = 9;  // " [" and "] 100 %"
  const int width = std::clamp(line_width() - static_cast<int>(label.size()) - kAround, 10, 30);
  const int filled = static_cast<int>(std::lround(std::clamp(done, 0.0, 1.0) * width));
  const int room = std::max(line_width() - width - kAround, 0);
  draw_line(fmt::format("{:.{}} [{:#<{}}{:.<{}}] {:3.0f} %", label, room, "", filled, "", width - filled,
                        done * 100));
}

void clear_progress() {
  if (interactive()) std::fprintf(stderr, "\r\x1b[K");
}

}  // namespace tw::cli
