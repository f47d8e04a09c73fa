// What becomes of a run whose text, teacher or base has changed since it began, and of two in one folder.
#include "train/run_sources.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>

#include "base/mmap.h"
#include "train/run_folder.h"
#include "train/run_prepare.h"
#include "train/test_runs.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const std::string kFamilies = std::string(TW_SOURCE_DIR) + "/tests/golden/families/";

/// A run on two files that was stopped in its 5th step.
class ChangedSources : public testing::Test {
 protected:
  void SetUp() override {
    config_ = small_run(folder_);
    write_text(b_, some_text(200));
    Watcher watcher;
    watcher.break_at = 5;
    const auto begun = train_run(config_, team_, {}, watcher);
    ASSERT_TRUE(begun.ok()) << begun.error().text();
    tokens_ = base::read_file(token_file()).value();
  }
  std::string token_file() const {
    for (const auto& entry : fs::directory_iterator(config_.out + "/data")) {
      if (entry.path().extension() == ".tokens") return entry.path().string();
    }
    return {};
  }
  std::string complaint(bool kept_data = false) {
    Watcher watcher;
    watcher.broken = true;  // stops before its first step
    RunOptions options;
    options.kept_data = kept_data;
    const auto report = train_run(config_, team_, options, watcher);
    return report.ok() ? "" : report.error().text();
  }
  /// The time of change is another one, as it is after any write a moment later.
  static void touch(const std::string& path) {
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(3));
  }

  const std::string folder_ = test_folder(), a_ = folder_ + "/text/a.txt", b_ = folder_ + "/text/b.txt";
  base::Team team_{1};
  spec::TrainConfig config_;
  std::string tokens_;
};

TEST_F(ChangedSources, AreFoundAndNothingIsMadeOfThem) {
  EXPECT_EQ(complaint(), "");
  std::string text = base::read_file(b_).value();
  text[100] = static_cast<char>(text[100] ^ 1);  // as long as before: the tokens are as many
  write_text(b_, text);
  touch(b_);
  const std::string changed = complaint();
  EXPECT_THAT(changed, AllOf(HasSubstr(b_ + ": has changed since the run in " + config_.out),
                             HasSubstr("--kept-data"), HasSubstr("--fresh")));
  EXPECT_EQ(changed.find('\n'), std::string::npos);
  fs::remove(b_);
  EXPECT_THAT(complaint(), HasSubstr(b_ + ": is gone since"));
  write_text(b_, some_text(200));
  touch(b_);
  EXPECT_EQ(complaint(), "") << "the same bytes at another time";
  write_text(folder_ + "/text/c.md", "new");
  EXPECT_THAT(complaint(), HasSubstr("c.md: is new since"));
  EXPECT_EQ(base::read_file(token_file()).value(), tokens_) << "the run's tokens stay what they were";
}

TEST_F(ChangedSources, CountForNothingWithTheDataThatWasKept) {
  Watcher whole, kept;
  spec::TrainConfig other = config_;
  other.out += "2";
  ASSERT_TRUE(train_run(other, team_, {}, whole).ok());
  fs::remove_all(folder_ + "/text");
  EXPECT_THAT(complaint(), HasSubstr("text: there is no such folder"));
  RunOptions options;
  options.kept_data = true;
  const auto report = train_run(config_, team_, options, kept);
  ASSERT_TRUE(report.ok()) << report.error().text();
  EXPECT_EQ(kept.losses.begin()->first, 6);
  EXPECT_EQ(kept.losses.at(24), whole.losses.at(24));
  std::string damaged = tokens_;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  write_text(token_file(), damaged);
  EXPECT_THAT(complaint(true),
              AllOf(HasSubstr(".tokens: does not match its checksum"), HasSubstr("leave --kept-data away")));
  config_.out = folder_ + "/never";
  EXPECT_THAT(complaint(true), HasSubstr("holds no training run"));
}

TEST_F(ChangedSources, AreWhateverANewRunFinds) {
  write_text(b_, some_text(250));
  RunOptions fresh;
  fresh.fresh = true;
  Watcher watcher;
  EXPECT_TRUE(train_run(config_, team_, fresh, watcher).ok());
  EXPECT_EQ(watcher.losses.begin()->first, 1);
  EXPECT_NE(base::read_file(token_file()).value(), tokens_);
  EXPECT_EQ(complaint(), "");
}

TEST(RunSources, OfAnAdapterItsBaseAndOfADistillationItsTeacher) {
  const std::string folder = test_folder(), model = folder + "/model";
  fs::copy(kFamilies + "qwen2", model);
  base::Team team(1);
  for (const bool teaches : {false, true}) {
    spec::TrainConfig config = small_run(folder);
    config.stages.pop_back();
    config.tokenizer = {};
    config.out += teaches ? "1" : "2";
    if (teaches) {
      config.stages[0].teacher.path = model;
    } else {
      config.model = {};
      config.stages[0].start = model;
      config.adapter.rank = 4;
    }
    Watcher first, again;
    first.break_at = 3;
    const auto begun = train_run(config, team, {}, first);
    ASSERT_TRUE(begun.ok()) << begun.error().text();
    spec::TrainConfig other = config;
    if (teaches)
      other.stages[0].teacher.weight = 0.5;
    else
      other.adapter.rank = 8;
    EXPECT_THAT(
        train_run(other, team, {}, again).error().text(),
        HasSubstr(teaches ? "stages[0].teacher.weight was 0.9 and is 0.5" : "adapter.rank was 4 and is 8"));
    const std::string weights = model + "/model.safetensors";
    std::string bytes = base::read_file(weights).value();
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    write_text(weights, bytes);
    fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(3));
    EXPECT_THAT(
        train_run(config, team, {}, again).error().text(),
        AllOf(HasSubstr(weights + ": has changed since the run in " + config.out), HasSubstr("--fresh")));
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    write_text(weights, bytes);
    EXPECT_TRUE(train_run(config, team, {}, again).ok()) << "it is back";
  }
}

TEST(RunSources, ADataFolderThatHoldsTheOutput) {
  const std::string folder = test_folder();
  spec::TrainConfig config = small_run(folder);
  config.out = folder + "/text/out";
  base::Team team(1);
  Watcher first, second;
  first.break_at = 5;
  ASSERT_TRUE(train_run(config, team, {}, first).ok());
  EXPECT_THAT(first.notes, HasSubstr("the output folder " + config.out + " lies in " + folder + "/text"));
  ASSERT_TRUE(fs::exists(config.out + "/log.jsonl")) << "which is no text";
  const auto whole = train_run(config, team, {}, second);
  ASSERT_TRUE(whole.ok()) << whole.error().text();
  EXPECT_EQ(second.losses.begin()->first, 6);
}

TEST(RunFolders, OneRunIsAtWorkAtATime) {
  const std::string folder = test_folder();
  const spec::TrainConfig config = small_run(folder);
  base::Team team(1);
  Watcher watcher;
  {
    RunFolder first(config.out);
    ASSERT_TRUE(first.open(config, false).ok());
    const std::string before = base::read_file(config.out + "/run.json").value();
    for (const bool fresh : {false, true}) {
      RunOptions options;
      options.fresh = fresh;
      const auto refused = train_run(config, team, options, watcher);
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.error().code, base::Code::kUnavailable);
      EXPECT_THAT(refused.error().text(),
                  AllOf(HasSubstr(config.out + ": another run is at work there (process " +
                                  std::to_string(::getpid()) + ")"),
                        HasSubstr("choose another --out")));
    }
    EXPECT_EQ(base::read_file(config.out + "/run.json").value(), before);
  }
  const auto report = train_run(config, team, {}, watcher);
  EXPECT_TRUE(report.ok()) << report.error().text();
}

}  // namespace
}  // namespace tw::train
