// What a terminal can show: whether there is one, and a progress bar.
#pragma once

#include <string>

namespace tw::cli {

/// Whether it is a terminal that knows escape sequences.
bool takes_escapes(int fd);
/// Whether standard error is one: progress bars and colours only then.
bool interactive();

/// Draws "label [#####.....] 42 %" on standard error, over itself; nothing when not interactive().
void draw_progress(const std::string& label, double done);
/// Erases it.
void clear_progress();

}  // namespace tw::cli
