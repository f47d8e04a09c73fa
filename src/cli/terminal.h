// What a terminal can show: whether there is one, and a progress bar.
#pragma once

#include <string>
#include <string_view>

namespace tw::cli {

/// Whether it is a terminal that knows escape sequences.
bool takes_escapes(int fd);
/// Whether standard error is one: progress bars and colours only then.
bool interactive();

/// Draws one line on standard error, over itself, cut to the terminal's width; nothing when not
/// interactive().
void draw_line(std::string_view text);
/// Draws "label [#####.....] 42 %" that way.
void draw_progress(const std::string& label, double done);
/// Erases it.
void clear_progress();

}  // namespace tw::cli
