#include "base/affinity.h"

#include <gtest/gtest.h>

namespace tw::base {
namespace {

TEST(CpuList, ReadsAndWrites) {
  EXPECT_EQ(parse_cpu_list("0-3,8").value(), (std::vector<int>{0, 1, 2, 3, 8}));
  EXPECT_EQ(parse_cpu_list("5,1,1-2").value(), (std::vector<int>{1, 2, 5}));
  EXPECT_EQ(cpu_list_text({0, 1, 2, 3, 8}), "0-3,8");
  EXPECT_EQ(cpu_list_text({7}), "7");
  for (const char* bad : {"", ",", "1,", ",1", "a", "1-", "-1", "3-1", "1 ,2", "0-99999", "99999999999"}) {
    EXPECT_FALSE(parse_cpu_list(bad).ok()) << bad;
  }
}

/// `nodes` nodes (each a package) of `cores` cores; the siblings of a core come after all first ones, as
/// Linux numbers them.
std::vector<Cpu> machine(int nodes, int cores, int siblings) {
  std::vector<Cpu> cpus;
  for (int id = 0; id < nodes * cores * siblings; ++id) {
    const int core = id % (nodes * cores);
    cpus.push_back({id, core % cores, core / cores, core / cores});
  }
  return cpus;
}

TEST(Placement, OneThreadACoreAndSiblingsLast) {
  const Placement whole = place_threads(machine(1, 4, 2), 0, 0);
  EXPECT_EQ(whole, Placement(4, {0, 1, 2, 3}));
  EXPECT_EQ(place_threads(machine(1, 4, 2), 3, 0), Placement(3, {0, 1, 2, 3}));
  EXPECT_EQ(place_threads(machine(1, 4, 2), 5, 0), Placement(5, {0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Placement, SpreadsOverNodesInOrder) {
  const Placement placement = place_threads(machine(2, 4, 2), 0, 0);
  ASSERT_EQ(placement.size(), 8U);
  for (int worker = 0; worker < 8; ++worker) {
    EXPECT_EQ(placement[worker],
              worker < 4 ? (std::vector<int>{0, 1, 2, 3}) : (std::vector<int>{4, 5, 6, 7}));
  }
  EXPECT_EQ(placement_text(placement), "0-3 and 4-7");
  const Placement three = place_threads(machine(2, 4, 1), 3, 0);
  EXPECT_EQ(three, (Placement{{0, 1, 2, 3}, {0, 1, 2, 3}, {4, 5, 6, 7}}));
}

TEST(Placement, KeepsToTheQuota) {
  EXPECT_EQ(place_threads(machine(1, 8, 1), 0, 2.5).size(), 3U);
  EXPECT_EQ(place_threads(machine(1, 8, 1), 0, 0.1).size(), 1U);
  EXPECT_EQ(place_threads(machine(1, 8, 1), 6, 2.5).size(), 6U);  // asked for
}

TEST(Placement, OfThisMachine) {
  const std::vector<Cpu> usable = usable_cpus();
  ASSERT_FALSE(usable.empty());
  const Placement one = place_threads(0, {usable.back().id}).value();
  EXPECT_EQ(one, Placement(1, {usable.back().id}));
  const auto wrong = place_threads(0, {CPU_SETSIZE - 1});
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message.find(std::to_string(CPU_SETSIZE - 1)), std::string::npos);
}

TEST(ThreadPin, PutsTheThreadBack) {
  const std::size_t before = usable_cpus().size();
  const int last = usable_cpus().back().id;
  {
    const ThreadPin pin({last});
    ASSERT_EQ(usable_cpus().size(), 1U);
    EXPECT_EQ(usable_cpus()[0].id, last);
  }
  EXPECT_EQ(usable_cpus().size(), before);
}

}  // namespace
}  // namespace tw::base
