#include "train/checkpoint_writer.h"

#include <utility>

namespace tw::train {

using base::Ok;
using base::Status;

CheckpointWriter::CheckpointWriter(CheckpointPolicy policy)
    : policy_(std::move(policy)), thread_([this] { run(); }) {}

CheckpointWriter::~CheckpointWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Status CheckpointWriter::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_; });
  return std::exchange(result_, Ok{});
}

Status CheckpointWriter::save(const CheckpointData& data) {
  const Status before = wait();
  std::vector<std::vector<std::byte>> copies;
  CheckpointData copy = data;
  for (CheckpointShard& shard : copy.shards) {
    for (io::TensorEntry& tensor : shard.tensors) {
      copies.emplace_back(tensor.data, tensor.data + tensor.bytes);
      tensor.data = copies.back().data();
    }
  }
  {
    const std::lock_guard lock(mutex_);
    waiting_ = std::move(copy);
    copies_ = std::move(copies);
    busy_ = true;
  }
  changed_.notify_all();
  return before;
}

void CheckpointWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return waiting_ || stopping_; });
    if (!waiting_) return;
    const CheckpointData data = *std::exchange(waiting_, std::nullopt);
    lock.unlock();
    Status result = write_checkpoint(policy_.root, data);
    if (result.ok()) result = prune_checkpoints(policy_.root, policy_.keep_last, policy_.keep_best);
    lock.lock();
    copies_.clear();
    result_ = std::move(result);
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace tw::train
