// Writes checkpoints beside the training: a step waits only for a copy of what is saved.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "train/checkpoint.h"

namespace tw::train {

struct CheckpointPolicy {
  std::string root;
  int keep_last = 2;
  int keep_best = 1;  ///< those with the smallest validation losses
};

/// Owns a thread. The methods are for one caller at a time.
class CheckpointWriter {
 public:
  explicit CheckpointWriter(CheckpointPolicy policy);
  ~CheckpointWriter();  ///< waits for what is being written
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Copies the data and returns; the thread writes it and then deletes old checkpoints. Waits while an
  /// earlier one is being written. Returns what went wrong with that one: training may go on, since the
  /// checkpoints before it are still whole.
  base::Status save(const CheckpointData& data);
  /// Waits until all is on the disk.
  base::Status wait();

 private:
  void run();

  const CheckpointPolicy policy_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // All below: under mutex_.
  std::optional<CheckpointData> waiting_;
  std::vector<std::vector<std::byte>> copies_;  ///< what the tensors of waiting_ point into
  bool busy_ = false, stopping_ = false;
  base::Status result_ = base::Ok{};
  std::thread thread_;  // last: it uses all above
};

}  // namespace tw::train
