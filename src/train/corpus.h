// A folder of text as documents: what tokenizers are trained on and token files are made from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tw::train {

/// Fails with kCorrupt, naming `path` and the first bad byte, unless `text` is UTF-8 without zero bytes.
base::Status check_text(std::string_view text, const std::string& path);

/// A text of its own; its bytes live as long as `owner`. Valid UTF-8.
struct Document {
  std::string_view text;
  std::shared_ptr<const void> owner;
};

/// The .txt, .md and .jsonl files in a folder and those below it, in the order of their paths; or one such
/// file. A text file is one document, a line {"text": "..."} of a .jsonl file too. Immutable, thread-safe.
class Corpus {
 public:
  struct File {
    std::string path;
    std::uint64_t bytes = 0;
    std::int64_t modified_ns = 0;  ///< since 1970
  };

  /// Fails with kNotFound for a place that is not there and for a folder without text. What is below the
  /// folder `without`, if it is below `path`, is left out.
  static base::Result<Corpus> open(const std::string& path, const std::string& without = {});

  const std::string& path() const { return path_; }
  const std::vector<File>& files() const { return files_; }
  std::uint64_t bytes() const { return bytes_; }

  /// Calls `take` with one group of documents after the other, each group of about `bytes` bytes (or one
  /// document). Stops at the first error: a file that is not UTF-8 text (kCorrupt, with its first bad byte),
  /// a line that is not JSON or has no "text" (kCorrupt, FILE:LINE), or what `take` returns.
  using Take = std::function<base::Status(std::span<const Document>)>;
  base::Status each_group(std::uint64_t bytes, const Take& take) const;

 private:
  std::string path_;
  std::vector<File> files_;
  std::uint64_t bytes_ = 0;
};

/// Calls `take` with each line of a .jsonl file that is not blank, parsed. Errors name FILE:LINE, those that
/// `take` returns too.
base::Status each_json_line(const std::string& path,
                            const std::function<base::Status(const base::OrderedJson& line)>& take);

}  // namespace tw::train
