#include "cli/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/env.h"

namespace tw::cli {

bool takes_escapes(int fd) {
  const std::string term = base::env::term().value_or("dumb");
  return ::isatty(fd) == 1 && term != "dumb" && term != "emacs";
}

bool interactive() {
  return takes_escapes(STDERR_FILENO);
}

void draw_progress(const std::string& label, double done) {
  if (!interactive()) return;
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(std::lround(std::min(std::max(done, 0.0), 1.0) * kWidth));
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  std::fprintf(stderr, "\r%s [%s] %3.0f %%\x1b[K", label.c_str(), bar.c_str(), done * 100);
  std::fflush(stderr);
}

void clear_progress() {
  if (interactive()) std::fprintf(stderr, "\r\x1b[K");
}

}  // namespace tw::cli
