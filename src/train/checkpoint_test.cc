#include "train/checkpoint.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>

#include "base/mmap.h"
#include "train/checkpoint_writer.h"
#include "train/test_disk.h"
#include "train/test_files.h"

namespace tw::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A model of which each value tells the step.
struct Model {
  explicit Model(std::int64_t step, std::size_t size = 3000) : values(size, static_cast<float>(step)) {
    const io::TensorEntry tensor{"model.weight",
                                 base::DType::kF32,
                                 {static_cast<std::int64_t>(size)},
                                 reinterpret_cast<const std::byte*>(values.data()),
                                 size * 4};
    io::TensorEntry moment = tensor;
    moment.name = "model.weight.m";
    data.step = step;
    data.state = {{"step", step}, {"loss", 1.0 / static_cast<double>(step + 1)}};
    data.shards = {{"weights", {tensor}}, {"optimizer", {moment}}};
  }
  std::vector<float> values;
  CheckpointData data;
};

void expect_step(const Checkpoint& checkpoint, std::int64_t step) {
  EXPECT_EQ(checkpoint.step(), step);
  EXPECT_EQ(checkpoint.state()["step"], step);
  EXPECT_EQ(checkpoint.state()["loss"], 1.0 / static_cast<double>(step + 1));
  for (const char* name : {"weights", "optimizer"}) {
    const auto shard = checkpoint.shard(name);
    ASSERT_TRUE(shard.ok()) << shard.error().text();
    ASSERT_EQ((*shard)->tensors().size(), 1u);
    const io::TensorEntry& tensor = (*shard)->tensors()[0];
    const auto* values = reinterpret_cast<const float*>(tensor.data);
    for (std::int64_t i = 0; i < tensor.elements(); ++i) ASSERT_EQ(values[i], static_cast<float>(step));
  }
}

std::int64_t latest(const std::string& root) {
  std::vector<std::string> damaged;
  const auto checkpoint = latest_checkpoint(root, damaged);
  return checkpoint.ok() ? checkpoint->step() : -1;
}

std::vector<std::string> names(const std::string& root) {
  std::vector<std::string> list;
  for (const auto& entry : std::filesystem::directory_iterator(root)) list.push_back(entry.path().filename());
  std::sort(list.begin(), list.end());
  return list;
}

TEST(Checkpoint, ReadsWhatWasWritten) {
  const std::string root = test_folder();
  ASSERT_TRUE(write_checkpoint(root, Model(7).data).ok());
  const auto checkpoint = Checkpoint::open(root + "/step-00000007");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().text();
  expect_step(*checkpoint, 7);
  EXPECT_FALSE(checkpoint->validation_loss());
  EXPECT_THAT(checkpoint->shard("adapter").error().text(), HasSubstr("has no adapter.safetensors"));
}

TEST(Checkpoint, AnyFlippedBitIsFoundAndTheOneBeforeIsUsed) {
  const std::string root = test_folder();
  ASSERT_TRUE(write_checkpoint(root, Model(1, 20).data).ok());
  ASSERT_TRUE(write_checkpoint(root, Model(2, 20).data).ok());
  const std::string folder = root + "/step-00000002/";
  std::mt19937 random(1);
  for (const char* name : {"weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}) {
    const std::string good = *base::read_file(folder + name);
    for (int i = 0; i < 40; ++i) {
      std::string bad = good;
      bad[random() % (bad.size() - 1)] ^= static_cast<char>(1 << random() % 7);  // the last is a line feed
      write_text(folder + name, bad);
      std::vector<std::string> damaged;
      const auto checkpoint = latest_checkpoint(root, damaged);
      ASSERT_TRUE(checkpoint.ok());
      expect_step(*checkpoint, 1);
      ASSERT_EQ(damaged.size(), 1u);
      EXPECT_THAT(damaged[0], HasSubstr(folder + name + ": "));
      EXPECT_EQ(damaged[0].find('\n'), std::string::npos);
    }
    write_text(folder + name, good.substr(0, good.size() / 2));
    EXPECT_EQ(latest(root), 1);
    std::filesystem::remove(folder + name);
    EXPECT_EQ(latest(root), 1);
    write_text(folder + name, good);
    EXPECT_EQ(latest(root), 2);
  }
}

TEST(Checkpoint, KeepsTheLastAndTheBest) {
  const std::string root = test_folder();
  CheckpointWriter writer({root, 2, 1});
  const double losses[] = {3, 1, 2, 4, 5};
  for (int step = 1; step <= 5; ++step) {
    Model model(step);
    model.data.validation_loss = losses[step - 1];
    ASSERT_TRUE(writer.save(model.data).ok());
  }
  ASSERT_TRUE(writer.wait().ok());
  EXPECT_THAT(names(root), ElementsAre("step-00000002", "step-00000004", "step-00000005"));
  EXPECT_EQ(Checkpoint::open(root + "/step-00000002")->validation_loss(), 1);
}

TEST(Checkpoint, TheBestAreThoseOfTheNewestStage) {
  const std::string root = test_folder();
  CheckpointWriter writer({root, 1, 1});
  const double losses[] = {1, 2, 4, 3, 5};
  for (int step = 1; step <= 5; ++step) {
    Model model(step);
    model.data.stage = step <= 2 ? 0 : 1;
    model.data.validation_loss = losses[step - 1];
    ASSERT_TRUE(writer.save(model.data).ok());
  }
  ASSERT_TRUE(writer.wait().ok());
  EXPECT_THAT(names(root), ElementsAre("step-00000004", "step-00000005"));
}

/// A save that breaks off must not cost the checkpoint of the same step.
TEST(Checkpoint, WritesOneAgainBesideTheOld) {
  const std::string root = test_folder();
  ASSERT_TRUE(write_checkpoint(root, Model(1).data).ok());
  const auto again = [&] {
    const FullDisk disk(5000);
    return write_checkpoint(root, Model(1).data);
  }();
  EXPECT_FALSE(again.ok());
  EXPECT_EQ(latest(root), 1);
  ASSERT_TRUE(write_checkpoint(root, Model(1).data).ok());
  write_text(root + "/step-00000007.partial/weights.safetensors", "half");  // of a kill
  ASSERT_TRUE(prune_checkpoints(root, 2, 1).ok());
  EXPECT_THAT(names(root), ElementsAre("step-00000001"));
}

TEST(Checkpoint, AFullDiskCostsOnlyThatCheckpoint) {
  const std::string root = test_folder();
  CheckpointWriter writer({root, 2, 1});
  ASSERT_TRUE(writer.save(Model(1).data).ok());
  ASSERT_TRUE(writer.wait().ok());
  // A limit on a file's size fails like a full disk: in the middle of a write.
  base::Status saved = base::Ok{}, waited = base::Ok{};
  {
    const FullDisk disk(5000);
    saved = writer.save(Model(2).data);
    waited = writer.wait();
  }
  EXPECT_TRUE(saved.ok());
  ASSERT_FALSE(waited.ok());
  EXPECT_THAT(waited.error().text(), HasSubstr("weights.safetensors.partial: cannot write: File too large"));
  EXPECT_EQ(latest(root), 1);
  ASSERT_TRUE(writer.save(Model(3).data).ok());
  ASSERT_TRUE(writer.wait().ok());
  EXPECT_EQ(latest(root), 3);
  EXPECT_THAT(names(root), ElementsAre("step-00000001", "step-00000003"));
}

/// Saves step after step; after each that is on the disk its number goes to the pipe.
[[noreturn]] void save_until_killed(const std::string& root, std::int64_t step, int pipe) {
  CheckpointWriter writer({root, 2, 1});
  for (;; ++step) {
    Model model(step, 60000);
    model.data.validation_loss = static_cast<double>(step % 5);
    if (!writer.save(model.data).ok() || !writer.wait().ok()) ::_exit(1);
    if (::write(pipe, &step, sizeof step) != sizeof step) ::_exit(1);
  }
}

TEST(Checkpoint, KillAtAnyMomentLosesNothingThatWasSaved) {
  const std::string root = test_folder();
  // How long a save takes depends on the disk and on who else uses it.
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(write_checkpoint(root + "/measured", Model(1, 60000).data).ok());
  const auto one =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  std::mt19937 random(7);
  std::int64_t saved = 0, from = 1;
  auto longest = static_cast<std::uint64_t>(3 * one.count() + 1000);  // microseconds until the kill
  for (int round = 0; round < 40 || (saved <= 5 && round < 200); ++round) {
    const std::int64_t before = saved;
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) save_until_killed(root, from, ends[1]);
    ::close(ends[1]);
    ::usleep(static_cast<useconds_t>(random() % longest));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child could not save";
    for (std::int64_t step = 0; ::read(ends[0], &step, sizeof step) == sizeof step;) saved = step;
    ::close(ends[0]);
    if (saved == before) longest += longest / 8;
    std::vector<std::string> damaged;
    const auto checkpoint = latest_checkpoint(root, damaged);
    EXPECT_TRUE(damaged.empty()) << damaged[0];
    if (!checkpoint.ok()) {
      EXPECT_EQ(saved, 0);
      continue;
    }
    EXPECT_GE(checkpoint->step(), saved);
    expect_step(*checkpoint, checkpoint->step());
    from = checkpoint->step() + 1;
  }
  EXPECT_GT(saved, 5) << "the kills came too early to test anything";
}

}  // namespace
}  // namespace tw::train
