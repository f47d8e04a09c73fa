// When a benchmark must say that its ceilings are wrong.
#include "cli/bench_shares.h"

#include <gtest/gtest.h>

namespace tw::cli {
namespace {

TEST(CeilingShares, AreDoubtfulAboveOne) {
  EXPECT_EQ((CeilingShares{1, 1}.warning()), "");
  EXPECT_EQ((CeilingShares{0.3, 0.9}.warning()), "");
  for (const CeilingShares shares : {CeilingShares{1.3, 0.5}, CeilingShares{0.5, 1.3}}) {
    EXPECT_TRUE(shares.disturbed());
    EXPECT_NE(shares.warning().find("run again on a quiet machine"), std::string::npos);
  }
}

TEST(CeilingShares, GuessesMayPassTheBandwidth) {
  EXPECT_FALSE((CeilingShares{0.5, 1.3, true}.disturbed()));
  EXPECT_TRUE((CeilingShares{1.3, 0.5, true}.disturbed()));
}

}  // namespace
}  // namespace tw::cli
