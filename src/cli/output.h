// Standard output, which holds the results.
#pragma once

namespace tw::cli {

/// Writes out what is buffered. When something was lost, says so in one line and returns 1 for an exit code
/// of 0; a reader that has left on purpose (`| head`) gets no line.
int finish_output(int exit_code);

}  // namespace tw::cli
