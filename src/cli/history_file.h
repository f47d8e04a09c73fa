// What was typed at the prompt of `run`, across runs. The format is specified in docs/formats/run_history.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tw::cli {

/// Safe among processes: each call holds the file's lock.
class HistoryFile {
 public:
  static constexpr std::size_t kMaxEntries = 1000;
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 20;  ///< of the file, after open()

  /// The file of this user: $XDG_STATE_HOME/tokenworks/run_history or the same under $HOME/.local/state;
  /// empty when neither variable is set.
  static std::string default_path();

  /// Reads the file's entries, oldest first, into `entries`; creates file and folder if missing, for their
  /// owner alone, and drops what is above the limits. Errors: kIo.
  static base::Result<HistoryFile> open(std::string path, std::vector<std::string>& entries);

  /// Appends one. An entry of more than an eighth of kMaxBytes is left out. Errors: kIo.
  base::Status add(std::string_view entry) const;

 private:
  explicit HistoryFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace tw::cli
