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
  const Machine& limited(const char* path) {
    limit_by_cgroups(machine_, root_.string(), path);
    return machine_;
  }

  fs::path root_;
  Machine machine_;
};

TEST_F(Cgroups, NoFilesAreNoLimits) {
  const Machine& m = limited("/system.slice/server.service");
  EXPECT_EQ(m.cgroup_cpus, 0);
  EXPECT_EQ(m.memory_limit, 0u);
  EXPECT_EQ(m.memory_available, 1000u);
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
  const Machine& m = limited("/system.slice/server.service");
  EXPECT_EQ(m.cgroup_cpus, 1.5);
  EXPECT_EQ(m.memory_limit, 800u);
  EXPECT_EQ(m.memory_available, 500u);  // the slice's 800 without the 300 that are no file pages
}

TEST_F(Cgroups, OfAContainerTheRootIsItsOwn) {
  write("cpu.max", "50000 100000");
  write("memory.max", "700");
  write("memory.current", "800");
  const Machine& m = limited("/");
  EXPECT_EQ(m.cgroup_cpus, 0.5);
  EXPECT_EQ(m.memory_limit, 700u);
  EXPECT_EQ(m.memory_available, 0u);
}

TEST_F(Cgroups, APathThatIsNotMountedFallsBackToTheRoot) {
  write("memory.max", "700");
  EXPECT_EQ(limited("/docker/0123").memory_limit, 700u);
}

}  // namespace
}  // namespace tw::base
