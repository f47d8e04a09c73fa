// The conversation of `run` in a terminal: messages, answers and the commands that begin with a slash.
#pragma once

#include "cli/chat.h"

namespace tw::cli {

/// Until the user leaves; returns the exit status. REQUIRES: standard input is a terminal. With
/// `keep_history` what is typed is kept for later runs.
int converse(Chat& chat, bool keep_history);

}  // namespace tw::cli
