#include "cli/history_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tw::cli {
namespace {

namespace fs = std::filesystem;

class HistoryFileTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::string> load() const {
    std::vector<std::string> entries;
    auto file = HistoryFile::open(path_, entries);
    EXPECT_TRUE(file.ok()) << file.error().text();
    return entries;
  }
  void write(const std::string& text) const {
    fs::create_directories(fs::path(path_).parent_path());
    std::ofstream(path_, std::ios::binary) << text;
  }
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  static unsigned mode(const std::string& path) {
    struct stat info{};
    ::stat(path.c_str(), &info);
    return info.st_mode & 0777;
  }

  const std::string folder_ = ::testing::TempDir() + "tw_history_" + std::to_string(::getpid());
  const std::string path_ = folder_ + "/state/run_history";
};

TEST_F(HistoryFileTest, KeepsEntriesForTheirOwnerAlone) {
  const std::vector<std::string> typed = {"one", "two\nlines", "back\\slash\\n", "\xC3\xA4\xE2\x82\xAC"};
  std::vector<std::string> entries = {"not cleared?"};
  auto file = HistoryFile::open(path_, entries);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_TRUE(entries.empty());
  for (const std::string& entry : typed) ASSERT_TRUE(file->add(entry).ok());
  EXPECT_EQ(load(), typed);
  EXPECT_EQ(content(), "one\ntwo\\nlines\nback\\\\slash\\\\n\n\xC3\xA4\xE2\x82\xAC\n");
  EXPECT_EQ(mode(path_), 0600U);
  EXPECT_EQ(mode(folder_ + "/state"), 0700U);
}

TEST_F(HistoryFileTest, TakesAwayOthersRightToRead) {
  write("secret\n");
  fs::permissions(path_, fs::perms(0644));
  EXPECT_EQ(load(), std::vector<std::string>{"secret"});
  EXPECT_EQ(mode(path_), 0600U);
}

TEST_F(HistoryFileTest, DropsTheOldestAboveTheNumber) {
  std::string text;
  for (std::size_t i = 0; i < HistoryFile::kMaxEntries + 7; ++i) text += std::to_string(i) + "\n";
  write(text);
  const std::vector<std::string> entries = load();
  ASSERT_EQ(entries.size(), HistoryFile::kMaxEntries);
  EXPECT_EQ(entries.front(), "7");
  EXPECT_EQ(content().substr(0, 4), "7\n8\n");
}

TEST_F(HistoryFileTest, DropsTheOldestAboveTheSize) {
  write(std::string(HistoryFile::kMaxBytes, 'x') + "\nlast\n");
  EXPECT_EQ(load(), std::vector<std::string>{"last"});
  EXPECT_EQ(content(), "last\n");
}

TEST_F(HistoryFileTest, LeavesOutWhatIsTooLong) {
  std::vector<std::string> entries;
  auto file = HistoryFile::open(path_, entries);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->add(std::string(HistoryFile::kMaxBytes / 8, 'x')).ok());
  ASSERT_TRUE(file->add(std::string(HistoryFile::kMaxBytes / 8 - 1, 'y')).ok());
  EXPECT_EQ(load(), std::vector<std::string>{std::string(HistoryFile::kMaxBytes / 8 - 1, 'y')});
}

TEST_F(HistoryFileTest, ReadsAnyBytes) {
  write("a\\");
  EXPECT_EQ(load(), std::vector<std::string>{"a\\"});
  write(std::string("\n\na\0b\xFF\n", 7));
  EXPECT_EQ(load(), std::vector<std::string>{std::string("a\0b\xFF", 4)});
}

TEST_F(HistoryFileTest, SaysWhatIsWrong) {
  fs::create_directories(path_);  // a folder where the file should be
  std::vector<std::string> entries;
  auto file = HistoryFile::open(path_, entries);
  ASSERT_FALSE(file.ok());
  EXPECT_NE(file.error().text().find(path_), std::string::npos);
}

TEST_F(HistoryFileTest, LiesInTheStateFolder) {
  ::setenv("XDG_STATE_HOME", "/state", 1);
  ::setenv("HOME", "/home/me", 1);
  EXPECT_EQ(HistoryFile::default_path(), "/state/tokenworks/run_history");
  ::unsetenv("XDG_STATE_HOME");
  EXPECT_EQ(HistoryFile::default_path(), "/home/me/.local/state/tokenworks/run_history");
  ::unsetenv("HOME");
  EXPECT_EQ(HistoryFile::default_path(), "");
}

}  // namespace
}  // namespace tw::cli
