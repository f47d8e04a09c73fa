// A disk that is full for a while, at each of the moments at which a run writes.
#include <gmock/gmock.h>

#include <filesystem>
#include <optional>

#include "base/mmap.h"
#include "train/test_disk.h"
#include "train/test_runs.h"

namespace tw::train {
namespace {

using testing::AllOf;
using testing::HasSubstr;
constexpr rlim_t kSmall = 16 << 10;  ///< smaller than the weights, larger than all else

/// The disk is full from the end of one step to the end of another, or when the model is about to be written.
class Filling : public Watcher {
 public:
  void stepped(const StepLine& line) override {
    Watcher::stepped(line);
    if (line.step == from) full_.emplace(kSmall);
    if (line.step == to) full_.reset();
  }
  void validated(std::int64_t step, double loss, bool whole) override {
    Watcher::validated(step, loss, whole);
    if (whole && at_the_end) full_.emplace(kSmall);
  }

  std::int64_t from = -1, to = -1;
  bool at_the_end = false;

 private:
  std::optional<FullDisk> full_;
};

TEST(RunDisk, TrainingGoesOnWithoutACheckpoint) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);  // a checkpoint every 5 steps
  base::Team team(1);
  Filling watcher;
  watcher.from = 3;
  watcher.to = 9;
  const auto report = train_run(config, team, {}, watcher);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_EQ(report->step, 24);
  EXPECT_THAT(watcher.notes, AllOf(HasSubstr("a checkpoint was not written: "), HasSubstr("File too large")));
}

TEST(RunDisk, TheLastCheckpointThatDoesNotFitEndsTheRunWhichGoesOnFromTheOneBefore) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(1);
  {
    Filling watcher;
    watcher.from = 21;
    const auto report = train_run(config, team, {}, watcher);
    ASSERT_FALSE(report.ok());
    EXPECT_THAT(report.error().text(), AllOf(HasSubstr("File too large"), HasSubstr("by the same command")));
  }
  Watcher again;
  const auto report = train_run(config, team, {}, again);
  ASSERT_TRUE(report.ok()) << report.error().text();
  ASSERT_FALSE(again.losses.empty());
  EXPECT_GT(again.losses.begin()->first, 12) << "the first stage is not run again";
}

TEST(RunDisk, AModelThatDoesNotFitCanBeWrittenLater) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(1);
  std::string line;
  {
    Filling watcher;
    watcher.at_the_end = true;
    const auto report = train_run(config, team, {}, watcher);
    ASSERT_FALSE(report.ok());
    line = report.error().text();
  }
  EXPECT_THAT(line, AllOf(HasSubstr("model.safetensors"), HasSubstr("File too large")));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(config.out + "/model.safetensors"));
  Watcher again;
  const auto report = train_run(config, team, {}, again);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_TRUE(again.losses.empty()) << "no step is run twice";
  EXPECT_TRUE(std::filesystem::exists(config.out + "/model.safetensors"));
}

}  // namespace
}  // namespace tw::train
