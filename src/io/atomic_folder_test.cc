#include "io/atomic_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/mmap.h"

namespace tw::io {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kOurs[] = {"a", "part-*"};

class AtomicFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(place_);
    fs::create_directories(place_);
  }
  void TearDown() override { fs::remove_all(place_); }

  void write(const std::string& text, bool commit) {
    auto folder = AtomicFolder::create(path_, kOurs);
    ASSERT_TRUE(folder.ok()) << folder.error().text();
    ASSERT_TRUE(base::write_file_atomically(folder->partial_path() + "/a", text).ok());
    if (!commit) return;
    const base::Status status = folder->commit();
    ASSERT_TRUE(status.ok()) << status.error().text();
  }
  std::string content() const { return base::read_file(path_ + "/a").value(); }

  const std::string place_ = testing::TempDir() + "atomic_folder_" + std::to_string(getpid());
  const std::string path_ = place_ + "/deep/er/f";
};

TEST_F(AtomicFolderTest, IsThereAfterCommitOnly) {
  write("one", false);
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_FALSE(fs::exists(path_ + ".partial"));
  write("two", true);
  EXPECT_EQ(content(), "two");
  write("three", false);
  EXPECT_EQ(content(), "two");
  write("four", true);
  EXPECT_EQ(content(), "four");
  EXPECT_FALSE(fs::exists(path_ + ".partial"));
}

TEST_F(AtomicFolderTest, ReplacesTheWholeOfAnother) {
  write("one", true);
  std::ofstream(path_ + "/part-1") << "old";
  write("two", true);
  EXPECT_FALSE(fs::exists(path_ + "/part-1"));
}

TEST_F(AtomicFolderTest, RefusesToLoseOtherFiles) {
  write("one", true);
  for (const char* name : {"b", "parts", "ab"}) {
    std::ofstream(path_ + "/" + name) << "mine";
    auto refused = AtomicFolder::create(path_, kOurs);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().text().find(name), std::string::npos) << refused.error().text();
    fs::remove(path_ + "/" + name);
  }
  fs::create_directory(path_ + "/part-folder");
  EXPECT_FALSE(AtomicFolder::create(path_, kOurs).ok()) << "a folder inside is not a file of ours";
  EXPECT_FALSE(AtomicFolder::create(path_ + "/a", kOurs).ok()) << "a file is no folder";
}

TEST_F(AtomicFolderTest, LeavesNeighboursAlone) {
  fs::create_directories(path_ + ".old");
  std::ofstream(path_ + ".old/thesis") << "mine";
  write("one", true);
  write("two", true);
  EXPECT_TRUE(fs::exists(path_ + ".old/thesis"));
  fs::create_directories(path_ + ".partial");
  std::ofstream(path_ + ".partial/thesis") << "mine";
  EXPECT_FALSE(AtomicFolder::create(path_, kOurs).ok());
  EXPECT_TRUE(fs::exists(path_ + ".partial/thesis"));
}

TEST_F(AtomicFolderTest, OfAKilledWriterNothingCounts) {
  write("one", true);
  const pid_t child = fork();
  if (child == 0) {
    auto folder = AtomicFolder::create(path_, kOurs);
    (void)base::write_file_atomically(folder->partial_path() + "/a", "half");
    std::ofstream(folder->partial_path() + "/part-1.partial") << "not even named yet";
    _exit(0);  // no destructor runs
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(fs::exists(path_ + ".partial"));
  EXPECT_EQ(content(), "one");
  write("two", true);
  EXPECT_EQ(content(), "two");
  EXPECT_FALSE(fs::exists(path_ + ".partial"));
  std::ofstream(path_ + "/a.partial") << "mine";
  EXPECT_FALSE(AtomicFolder::create(path_, kOurs).ok()) << "a finished folder has no unfinished file";
}

}  // namespace
}  // namespace tw::io
