#include "io/file_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/mmap.h"

namespace tw::io {
namespace {

using base::Code;

std::string lock_path(const char* name) {
  const std::string path = testing::TempDir() + name + "." + std::to_string(::getpid());
  ::unlink(path.c_str());
  return path;
}

TEST(FileLock, OneHoldsItAndSaysWho) {
  const std::string path = lock_path("lock_one");
  EXPECT_EQ(FileLock::holder(path), 0);
  {
    const auto first = FileLock::take(path);
    ASSERT_TRUE(first.ok()) << first.error().text();
    const auto second = FileLock::take(path);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code, Code::kUnavailable);
    EXPECT_EQ(second.error().where, path);
    EXPECT_EQ(FileLock::holder(path), ::getpid());
  }
  EXPECT_TRUE(FileLock::take(path).ok());
  ::unlink(path.c_str());
}

TEST(FileLock, OfAKilledProcessIsFree) {
  const std::string path = lock_path("lock_killed");
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = FileLock::take(path);
    const char held = lock.ok() ? 1 : 0;
    if (::write(ends[1], &held, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char held = 0;
  ASSERT_EQ(::read(ends[0], &held, 1), 1);
  EXPECT_EQ(held, 1);
  EXPECT_EQ(FileLock::take(path).error().code, Code::kUnavailable);
  EXPECT_EQ(FileLock::holder(path), child);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(FileLock::take(path).ok());
  ::close(ends[0]);
  ::close(ends[1]);
  ::unlink(path.c_str());
}

TEST(FileLock, SaysWhyItCannotBe) {
  const auto lock = FileLock::take("/nowhere/at/all/lock");
  ASSERT_FALSE(lock.ok());
  EXPECT_EQ(lock.error().code, Code::kIo);
  EXPECT_NE(lock.error().text().find("No such file"), std::string::npos);
}

}  // namespace
}  // namespace tw::io
