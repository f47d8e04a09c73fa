#include "base/cpu.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tw::base {
namespace {

namespace fs = std::filesystem;

class Cgroups : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "cgroups-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    fs::create_directories(root_ / "system.slice/server.service");
    machine_.memory_available = 1000;
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const char* file, const char* text) { std::ofstream(root_ / file) << text << '\n'; }
  /// Of a process in the group `path`.
  void expect(const char* path, double cpus, std::uint64_t memory_limit, std::uint64_t memory_available) {
    limit_by_cgroups(machine_, root_.string(), path);
    EXPECT_EQ(machine_.cgroup_cpus, cpus);
    EXPECT_EQ(machine_.memory_limit, memory_limit);
    EXPECT_EQ(machine_.memory_available, memory_available);
  }

  fs::path root_;
  Machine machine_;
};

TEST_F(Cgroups, NoFilesAreNoLimits) {
  expect("/system.slice/server.service", 0, 0, 1000);
}

TEST_F(Cgroups, TheNarrowestOfAllAboveHolds) {
  write("system.slice/server.service/cpu.max", "max 100000");
  write("system.slice/server.service/memory.max", "900");
  write("system.slice/server.service/memory.current", "100");
  write("system.slice/cpu.max", "150000 100000");
  write("system.slice/memory.max", "800");
  write("system.slice/memory.current", "500");
  write("system.slice/memory.stat", "anon 300\nfile 200\nfile_mapped 10");
  write("cpu.max", "400000 100000");
  // the slice's 800 without the 300 that are no file pages
  expect("/system.slice/server.service", 1.5, 800, 500);
}

TEST_F(Cgroups, OfAContainerTheRootIsItsOwn) {
  write("cpu.max", "50000 100000");
  write("memory.max", "700");
  write("memory.current", "800");
  expect("/", 0.5, 700, 0);
}

TEST_F(Cgroups, APathThatIsNotMountedFallsBackToTheRoot) {
  write("memory.max", "700");
  expect("/docker/0123", 0, 700, 700);
}

}  // namespace
}  // namespace tw::base
