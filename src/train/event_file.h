// TensorBoard's event files: the scalars of a run, step by step. Format: docs/formats/tensorboard.md.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace tw::train {

struct Scalar {
  std::string_view tag;
  double value = 0;
};

/// Appends to a file of its own, each event whole when the call returns. One thread at a time.
class EventFile {
 public:
  /// Makes FOLDER/events.out.tfevents.SECONDS.NAME, and says that the run goes on from `first_step`:
  /// TensorBoard then forgets what other files of the folder have from there on. `wall_time`: seconds since
  /// 1970. Fails with kIo.
  static base::Result<EventFile> create(const std::string& folder, const std::string& name,
                                        std::int64_t first_step, double wall_time);

  /// The scalars of one step. What cannot be written is given up: training is worth more than its log.
  void add(std::int64_t step, double wall_time, std::span<const Scalar> scalars);
  /// Those of a line of log.jsonl: every number in it under its key. A line without "step" gives none.
  void add(const base::OrderedJson& line, double wall_time);

  const std::string& path() const { return path_; }
  /// The first failure of all that was added.
  const base::Status& written() const { return written_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  EventFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  void write_record(std::string_view event);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  base::Status written_ = base::Ok{};
};

/// CRC-32C (Castagnoli), as records of event files carry it.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace tw::train
