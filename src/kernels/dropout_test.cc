// Dropout's masks against the one Philox, number by number.
#include <gtest/gtest.h>

#include <vector>

#include "base/philox.h"
#include "kernels/table.h"
#include "kernels/test_product.h"

namespace tw::kernels {
namespace {

class DropoutKernel : public testing::TestWithParam<std::string> {
 protected:
  const Table table_ = *make_table(GetParam(), detect_features());
};

/// What DropoutArgs says.
std::uint32_t word_of(const DropoutArgs& a, std::int64_t t, std::int64_t i) {
  const std::array<std::uint32_t, 4> counter = {static_cast<std::uint32_t>(i / 64 * 16 + i % 16),
                                                a.first_row + static_cast<std::uint32_t>(t), a.site, a.step};
  const auto words =
      base::philox(counter, {static_cast<std::uint32_t>(a.seed), static_cast<std::uint32_t>(a.seed >> 32)});
  return words[i / 16 % 4];
}

void check(const Table& table, std::int64_t width, bool adds, bool in_place) {
  SCOPED_TRACE(testing::Message() << "width " << width << (adds ? ", added" : "")
                                  << (in_place ? ", in place" : ""));
  constexpr std::int64_t kRows = 7, kBegin = 2, kEnd = 6;
  const std::vector<float> x = normal(kRows * width, 1), residual = normal(kRows * width, 2);
  std::vector<float> out = in_place ? x : std::vector<float>(x.size(), 5);
  const std::vector<float> before = out;
  DropoutArgs a{};
  a.x = in_place ? out.data() : x.data(), a.out = out.data();
  if (adds) a.add = residual.data();
  a.row_begin = kBegin, a.row_end = kEnd, a.width = width;
  a.first_row = ~std::uint32_t{2}, a.site = 77, a.step = 0xFEDCBA98U;
  a.seed = 0x0123456789ABCDEFU;
  a.dropped = 0x66666666U;  // the sign bit of both is compared
  a.scale = 5.0F / 3;
  table.train.dropout(a);
  for (std::int64_t t = 0; t < kRows; ++t) {
    for (std::int64_t i = 0; i < width; ++i) {
      const std::int64_t at = t * width + i;
      const float kept = word_of(a, t, i) >= a.dropped ? x[at] * a.scale : 0.0F;
      const float wanted = t < kBegin || t >= kEnd ? before[at] : adds ? residual[at] + kept : kept;
      ASSERT_EQ(out[at], wanted) << "row " << t << ", column " << i;
    }
  }
}

TEST_P(DropoutKernel, KeepsWhatPhiloxSays) {
  for (const std::int64_t width : {1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 72, 127, 200}) {
    check(table_, width, false, false);
    check(table_, width, false, true);
    check(table_, width, true, true);
  }
}

TEST_P(DropoutKernel, DropsNothingAndNearlyAll) {
  const std::vector<float> x(1 << 12, 1.0F);
  std::vector<float> out(x.size());
  DropoutArgs a{};
  a.x = x.data(), a.out = out.data(), a.row_end = 1, a.width = std::ssize(x), a.scale = 1;
  table_.train.dropout(a);
  EXPECT_EQ(out, x);
  a.dropped = ~0U;
  table_.train.dropout(a);
  EXPECT_EQ(out, std::vector<float>(x.size(), 0.0F));
}

INSTANTIATE_TEST_SUITE_P(Sets, DropoutKernel, testing::ValuesIn(available_sets(detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::kernels
