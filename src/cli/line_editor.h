// The prompt in a terminal: one line at a time, with editing, history, completion and pasted text, by
// libedit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/signal_pipe.h"

namespace tw::cli {

/// Standard input is a terminal that speaks UTF-8, whatever the locale says: answers are UTF-8 too. The
/// prompt goes to standard error, or to standard output if only that is a terminal.
class LineEditor {
 public:
  /// `signals` must outlive the editor and have SIGINT, SIGWINCH, SIGCONT, SIGTERM and SIGHUP. `commands` are
  /// the words that Tab completes at the beginning of a line (with a blank at the end, if more follows). Sets
  /// the process's LC_CTYPE: REQUIRES that no other thread cares.
  static base::Result<std::unique_ptr<LineEditor>> open(SignalPipe& signals,
                                                        std::vector<std::string> commands);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class End {
    kLine,        ///< Enter
    kCancelled,   ///< Ctrl-C; `text` is what had been typed
    kEof,         ///< Ctrl-D on an empty line, or the terminal is gone
    kTerminated,  ///< SIGTERM or SIGHUP
  };
  struct Line {
    End end = End::kEof;
    std::string text;  ///< UTF-8, without the line break at the end; those of a paste are in it
  };
  /// `prompt` ends in a blank.
  Line read(const std::string& prompt);

  /// What Up and Ctrl-R find. An entry equal to the last one is left out.
  void add_history(const std::string& entry);

 private:
  struct Impl;
  explicit LineEditor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tw::cli
