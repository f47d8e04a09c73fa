// Attention of every set this machine has against its definition in double precision over what the cache
// holds, for all its types and odd sizes; what is stored against what was to be stored; and the rule that a
// row's bits depend on its query and its sequence's cache alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <tuple>

#include "base/philox.h"
#include "kernels/ref/float16.h"
#include "kernels/table.h"

namespace tw::kernels {
namespace {

std::vector<float> normal(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(n);
  for (float& value : values) value = distribution(generator);
  return values;
}

struct Shape {
  DType type;
  std::int64_t length, heads, kv_heads, d;
};

/// Rows [begin, end) in tiles of at most `tile`, piece by piece or whole.
struct Rows {
  std::int64_t begin, end, tile;
  bool pieces = false;
};

/// A cache of one sequence whose blocks lie in shuffled order, and everything attention needs around it. What
/// the sequence does not fill of its last block holds numbers that must not matter.
class Cache {
 public:
  explicit Cache(const Shape& shape)
      : s(shape),
        keys(normal(s.length * s.kv_heads * s.d, 1)),
        values(normal(s.length * s.kv_heads * s.d, 2)),
        q(normal(s.length * s.heads * s.d, 3)) {
    const std::int64_t count = (s.length + kKvBlock - 1) / kKvBlock;
    for (std::int64_t i = 0; i < count; ++i) blocks_.push_back(static_cast<std::int32_t>(i));
    std::shuffle(blocks_.begin(), blocks_.end(), std::mt19937(5));
    // All bits set are a NaN in every type of float, those of the scales too.
    key_memory_.assign(count * s.kv_heads * kv_head_elements(s.type, s.d) * kv_element_bytes(s.type), 0xFF);
    value_memory_ = key_memory_;
    for (std::int64_t t = 0; t < s.length; ++t) positions_.push_back(static_cast<std::int32_t>(t));
    const std::int64_t floats = attention_scratch(s.heads / s.kv_heads, s.d);
    scratch_.resize((floats + 15) / 16);
  }

  /// `at_once` rows at a time.
  void store(const Table& table, std::int64_t at_once = INT64_MAX) {
    row_blocks_.assign(s.length, blocks_.data());
    for (std::int64_t row = 0; row < s.length; row += at_once) {
      const std::int64_t end = row + std::min(at_once, s.length - row);
      table.store_kv({layer(), keys.data(), values.data(), s.kv_heads * s.d, positions_.data(),
                      row_blocks_.data(), row, end});
      if (end == s.length) break;
    }
  }

  /// Element i of the key and of the value that the cache holds for a position.
  double stored_key(std::int64_t p, std::int64_t head, std::int64_t i) const {
    return stored(key_memory_, p, head, i * kKvBlock + p % kKvBlock);
  }
  double stored_value(std::int64_t p, std::int64_t head, std::int64_t i) const {
    return stored(value_memory_, p, head, p % kKvBlock * s.d + i);
  }

  /// Of the rows that the last run was of.
  std::vector<float> seen_log_sums(const Rows& rows) const {
    return {log_sums.begin() + rows.begin * s.heads, log_sums.begin() + rows.end * s.heads};
  }

  std::vector<float> run(const Table& table, bool prompt, const Rows& rows, std::int64_t window,
                         const AttentionDropout* dropout = nullptr) {
    store(table);
    const auto kernel = dropout != nullptr ? table.train.dropped_attention
                        : prompt           ? table.prompt_attention
                                           : table.attention;
    std::vector<float> out(s.length * s.heads * s.d, 0);
    log_sums.assign(s.length * s.heads, NAN);
    const std::int64_t group = s.heads / s.kv_heads;
    for (std::int64_t row = rows.begin; row < rows.end; row += rows.tile) {
      for (std::int64_t kv_head = 0; kv_head < s.kv_heads; ++kv_head) {
        const AttentionArgs args = {layer(),
                                    q.data(),
                                    out.data(),
                                    s.heads * s.d,
                                    blocks_.data(),
                                    row,
                                    row,
                                    std::min(row + rows.tile, rows.end),
                                    kv_head * group,
                                    (kv_head + 1) * group,
                                    kv_head,
                                    window,
                                    1.0F / std::sqrt(static_cast<float>(s.d)),
                                    scratch_.data()->floats,
                                    nullptr,
                                    0,
                                    dropout,
                                    log_sums.data()};
        spoil_scratch();
        if (rows.pieces)
          run_pieces(table, args, kernel);
        else
          kernel(args);
      }
    }
    return out;
  }

  /// Each piece by itself, the last one first, and then their sum.
  void run_pieces(const Table& table, AttentionArgs args, void (*kernel)(const AttentionArgs&)) {
    const std::int64_t pieces = (s.length + kAttentionPiece - 1) / kAttentionPiece;
    const std::int64_t rows = (args.row_end - args.row_begin) * (args.head_end - args.head_begin);
    std::vector<float> partials(pieces * rows * attention_partial(s.d), NAN);
    args.partials = partials.data();
    for (args.piece = pieces - 1; args.piece >= 0; --args.piece) {
      spoil_scratch();
      kernel(args);
    }
    spoil_scratch();
    table.merge_attention(args);
  }

  const Shape s;
  std::vector<float> keys, values, q;
  std::vector<float> log_sums;  ///< [length, heads], of the last run; NaN where it ran no row
  const std::vector<std::uint8_t>& key_memory() const { return key_memory_; }
  const std::vector<std::uint8_t>& value_memory() const { return value_memory_; }

 private:
  struct alignas(64) Line {
    float floats[16];
  };
  void spoil_scratch() {
    for (Line& line : scratch_) std::fill(line.floats, line.floats + 16, NAN);
  }
  KvLayer layer() { return {key_memory_.data(), value_memory_.data(), s.type, kKvBlock, s.kv_heads, s.d}; }
  double stored(const std::vector<std::uint8_t>& memory, std::int64_t p, std::int64_t head,
                std::int64_t at) const {
    const std::int64_t block = blocks_[p / kKvBlock] * s.kv_heads + head;
    const std::uint8_t* begin =
        memory.data() + block * kv_head_elements(s.type, s.d) * kv_element_bytes(s.type);
    const auto read = [&](auto type, const std::uint8_t* from, std::int64_t index) {
      std::memcpy(&type, from + index * static_cast<std::int64_t>(sizeof type), sizeof type);
      return type;
    };
    if (s.type == DType::kF32) return read(float{}, begin, at);
    if (s.type == DType::kF16) return half_to_float(read(std::uint16_t{}, begin, at));
    if (s.type == DType::kBF16) return bfloat16_to_float(read(std::uint16_t{}, begin, at));
    return read(std::int8_t{}, begin, at) *
           static_cast<double>(read(float{}, begin + kKvBlock * s.d, p % kKvBlock));
  }

  std::vector<Line> scratch_;
  std::vector<std::int32_t> blocks_, positions_;
  std::vector<const std::int32_t*> row_blocks_;
  std::vector<std::uint8_t> key_memory_, value_memory_;
};

/// What AttentionDropout says.
double kept(const AttentionDropout& d, std::int64_t row, std::int64_t head, std::int64_t p) {
  const auto words = base::philox(
      {static_cast<std::uint32_t>(p / 64 * 16 + p % 16), d.first_row + static_cast<std::uint32_t>(row),
       d.site + static_cast<std::uint32_t>(head), d.step},
      {static_cast<std::uint32_t>(d.seed), static_cast<std::uint32_t>(d.seed >> 32)});
  return words[p / 16 % 4] >= d.dropped ? d.scale : 0;
}

/// Causal attention of one row and head over what the cache holds, in double precision, straight from the
/// definition; behind it the row's log(sum(exp(scores))).
std::vector<double> brute_force(const Cache& c, std::int64_t row, std::int64_t head, std::int64_t window,
                                const AttentionDropout* dropout = nullptr) {
  const Shape& s = c.s;
  const std::int64_t kv_head = head / (s.heads / s.kv_heads);
  const std::int64_t begin = window > 0 ? std::max<std::int64_t>(0, row + 1 - window) : 0;
  std::vector<double> weights, out(s.d);
  double sum = 0;
  for (std::int64_t p = begin; p <= row; ++p) {
    double score = 0;
    for (std::int64_t i = 0; i < s.d; ++i)
      score += c.q[(row * s.heads + head) * s.d + i] * c.stored_key(p, kv_head, i);
    weights.push_back(std::exp(score / std::sqrt(static_cast<double>(s.d))));
    sum += weights.back();
  }
  for (std::int64_t p = begin; p <= row; ++p) {
    const double weight = weights[p - begin] / sum * (dropout == nullptr ? 1 : kept(*dropout, row, head, p));
    for (std::int64_t i = 0; i < s.d; ++i) out[i] += weight * c.stored_value(p, kv_head, i);
  }
  out.push_back(std::log(sum));
  return out;
}

using Case = std::tuple<std::string, DType, bool>;  ///< the set, the cache, prompts or generated tokens

class Attention : public ::testing::TestWithParam<Case> {
 protected:
  const Table table_ = make_table(std::get<0>(GetParam()), detect_features()).value();
  const DType type_ = std::get<1>(GetParam());
  const bool prompt_ = std::get<2>(GetParam());

  /// Rows [first, length) whole, and some of them compared.
  void compare(const Shape& shape, std::int64_t first, std::int64_t window) {
    Cache cache(shape);
    const auto out = cache.run(table_, prompt_, {first, shape.length, kAttentionRows}, window);
    const bool bf16 = prompt_ && table_.prompt_attention != table_.attention && table_.name == "amx";
    // Scores and values here are about 1. Tiles have queries, keys, values and weights in bf16, off by 2^-9
    // of themselves: an error of a score is a relative one of its weight, and the largest of thousands of
    // sums is a few times the typical one.
    const double bound = bf16 ? 3e-2 : 1e-5;
    for (std::int64_t row = first; row < shape.length; row += row % 16 == 0 ? 1 : row % 16 == 1 ? 14 : 1) {
      for (std::int64_t head = 0; head < shape.heads; ++head) {
        const auto exact = brute_force(cache, row, head, window);
        ASSERT_NEAR(cache.log_sums[row * shape.heads + head], exact.back(), bound) << row << " " << head;
        for (std::int64_t i = 0; i < shape.d; ++i) {
          const float got = out[(row * shape.heads + head) * shape.d + i];
          largest_ = std::max(largest_, std::fabs(got - exact[i]));
          ASSERT_NEAR(got, exact[i], bound) << "row " << row << " head " << head << " d " << shape.d
                                            << " length " << shape.length << " window " << window;
        }
      }
    }
  }
  double largest_ = 0;
};

TEST_P(Attention, EqualsItsDefinition) {
  for (const std::int64_t d : {8, 12, 64, 80, 96, 128, 256}) {
    for (const std::int64_t window : {0, 20}) compare({type_, 70, 4, 2, d}, 0, window);
  }
  for (const std::int64_t heads : {1, 3, 5}) compare({type_, 131, heads, 1, 64}, 0, 0);
  RecordProperty("largest_error", std::to_string(largest_));
}

TEST_P(Attention, EqualsItsDefinitionFarOut) {
  for (const std::int64_t window : {0, 20, 128, 300}) {
    compare({type_, 1111, 3, 1, 64}, 1111 - 70, window);
    compare({type_, 1024, 2, 2, 80}, 1024 - 3, window);
  }
}

TEST_P(Attention, BitsDoNotDependOnTiles) {
  // The reference goes row by row, whatever the tile, and is slow.
  const std::int64_t length = table_.name == "ref" ? 100 : 300, middle = length * 43 / 100;
  for (const std::int64_t window : {0, 33, 200}) {
    for (const std::int64_t d : {64, 80}) {
      Cache cache({type_, length, 3, 1, d});
      const auto whole = cache.run(table_, prompt_, {0, length, kAttentionRows}, window);
      for (const std::int64_t tile : {1, 3, 16, 37})
        EXPECT_EQ(cache.run(table_, prompt_, {0, length, tile}, window), whole) << tile << " " << window;
      // And a chunk that begins anywhere.
      const auto rest = cache.run(table_, prompt_, {middle, length, kAttentionRows}, window);
      const auto begin = middle * 3 * d;
      EXPECT_TRUE(std::equal(rest.begin() + begin, rest.end(), whole.begin() + begin)) << window;
    }
  }
}

class Pieces : public ::testing::TestWithParam<std::tuple<std::string, DType>> {};

TEST_P(Pieces, BitsDoNotDependOnWhoRunsAPiece) {
  const Table table = make_table(std::get<0>(GetParam()), detect_features()).value();
  const std::int64_t length = 2 * kAttentionPiece + 70;
  for (const std::int64_t d : {12, 64, 80}) {
    Cache cache({std::get<1>(GetParam()), length, 3, 1, d});
    for (const std::int64_t window : {0, 20, 600}) {
      for (const std::int64_t first : {length - 1, 2 * kAttentionPiece - 5}) {
        const std::int64_t end = std::min(length, first + 21);
        for (const bool prompt : {false, true}) {
          const auto whole = cache.run(table, prompt, {first, end, 16}, window);
          const std::vector<float> sums = cache.seen_log_sums({first, end, 16});
          EXPECT_EQ(cache.run(table, prompt, {first, end, 16, true}, window), whole) << d << " " << window;
          EXPECT_EQ(cache.seen_log_sums({first, end, 16}), sums) << d << " " << window;
        }
      }
    }
  }
}

/// Rows in tiles of any size and piece by piece have the same masks, which are Philox's.
TEST_P(Pieces, DroppedWeightsAreThoseOfPhilox) {
  const Table table = make_table(std::get<0>(GetParam()), detect_features()).value();
  const AttentionDropout dropout{.first_row = ~std::uint32_t{2},
                                 .site = 77,
                                 .step = 0xFEDCBA98U,
                                 .seed = 0x0123456789ABCDEFU,
                                 .dropped = 0x66666666U,
                                 .scale = 5.0F / 3};
  for (const std::int64_t length : {70, 580}) {
    for (const std::int64_t d : {12, 64}) {
      Cache cache({std::get<1>(GetParam()), length, 4, 2, d});
      for (const std::int64_t window : {0, 45}) {
        const auto whole = cache.run(table, true, {0, length, kAttentionRows}, window, &dropout);
        for (std::int64_t row = 0; row < length; row += 1 + row / 7) {
          for (std::int64_t head = 0; head < 4; ++head) {
            const auto exact = brute_force(cache, row, head, window, &dropout);
            for (std::int64_t i = 0; i < d; ++i)
              ASSERT_NEAR(whole[(row * 4 + head) * d + i], exact[i], 1e-5)
                  << row << " " << head << " " << window;
          }
        }
        const std::vector<float> sums = cache.log_sums;
        EXPECT_EQ(cache.run(table, true, {0, length, 5}, window, &dropout), whole);
        EXPECT_EQ(cache.log_sums, sums);
        EXPECT_EQ(cache.run(table, true, {0, length, 16, true}, window, &dropout), whole);
        EXPECT_EQ(cache.log_sums, sums);
        cache.run(table, true, {0, length, 16}, window);
        for (std::size_t i = 0; i < sums.size(); ++i)
          ASSERT_NEAR(sums[i], cache.log_sums[i], 2e-2) << "those of all weights: " << i;
      }
    }
  }
}

TEST_P(Pieces, WithNothingDroppedAreWhatTheyAreWithout) {
  const Table table = make_table(std::get<0>(GetParam()), detect_features()).value();
  const AttentionDropout nothing{.first_row = 0, .site = 1, .step = 1, .seed = 1, .dropped = 0, .scale = 1};
  Cache cache({std::get<1>(GetParam()), 150, 4, 2, 64});
  const Rows all = {0, 150, kAttentionRows};
  EXPECT_EQ(cache.run(table, true, all, 0, &nothing), cache.run(table, false, all, 0));
}

TEST_P(Pieces, WithDropoutHaveTheMeanThatTheyHaveWithout) {
  if (std::get<1>(GetParam()) != DType::kF32) return;
  const Table table = make_table(std::get<0>(GetParam()), detect_features()).value();
  Cache cache({DType::kF32, 70, 2, 1, 12});
  const Rows all = {0, 70, kAttentionRows};
  const auto whole = cache.run(table, false, all, 0);
  constexpr int kMasks = 400;
  std::vector<double> mean(whole.size());
  double single = 0, off = 0;
  for (std::uint32_t step = 0; step < kMasks; ++step) {
    const AttentionDropout some{
        .first_row = 0, .site = 1, .step = step, .seed = 1, .dropped = 1U << 30, .scale = 4.0F / 3};
    const auto out = cache.run(table, true, all, 0, &some);
    for (std::size_t i = 0; i < out.size(); ++i) {
      mean[i] += double{out[i]} / kMasks;
      single += std::pow(double{out[i]} - whole[i], 2) / kMasks;
    }
  }
  for (std::size_t i = 0; i < mean.size(); ++i) off += std::pow(mean[i] - whole[i], 2);
  EXPECT_GT(single, 1);
  EXPECT_LT(off, 1.5 * single / kMasks) << "a mean has the variance over the number of masks";
}

class Stored : public Pieces {};

/// How far a stored number may be from x, whose head's largest magnitude is `largest`.
double rounding(DType type, double x, double largest) {
  if (type == DType::kF32) return 0;
  if (type == DType::kF16) return std::max(std::fabs(x) * 0x1p-11, 0x1p-25);
  if (type == DType::kBF16) return std::fabs(x) * 0x1p-8;
  return largest / 127 * 0.5 * (1 + 1e-5);
}

TEST_P(Stored, NumbersAreTheNearestOfTheType) {
  const Table table = make_table(std::get<0>(GetParam()), detect_features()).value();
  for (const std::int64_t d : {1, 7, 12, 64, 80}) {
    Cache c({std::get<1>(GetParam()), 37, 2, 2, d});
    c.store(table);
    for (std::int64_t row = 0; row < c.s.length * c.s.kv_heads; ++row) {
      const std::int64_t p = row / c.s.kv_heads, head = row % c.s.kv_heads;
      double largest_key = 0, largest_value = 0;
      for (std::int64_t i = row * d; i < (row + 1) * d; ++i) {
        largest_key = std::max<double>(largest_key, std::fabs(c.keys[i]));
        largest_value = std::max<double>(largest_value, std::fabs(c.values[i]));
      }
      for (std::int64_t i = 0; i < d; ++i) {
        const double key = c.keys[row * d + i], value = c.values[row * d + i];
        ASSERT_NEAR(c.stored_key(p, head, i), key, rounding(c.s.type, key, largest_key)) << d;
        ASSERT_NEAR(c.stored_value(p, head, i), value, rounding(c.s.type, value, largest_value)) << d;
      }
    }
  }
}

/// Extremes among the keys of `length` positions, which may fill a part of a block that is stored at once.
void check_extremes(const Table& table, DType type, std::int64_t length, std::int64_t d) {
  SCOPED_TRACE(testing::Message() << length << " of " << d);
  Cache c({type, length, 1, 1, d});
  std::fill_n(c.keys.begin(), d, 0.0F);
  std::fill_n(c.keys.begin() + d, d, -1e-35F);
  c.keys[2 * d + 3] = INFINITY;
  c.keys[3 * d + 19] = NAN;
  c.keys[4 * d + 1] = -1e30F;
  c.keys[5 * d] = -70000.0F;
  c.store(table);
  for (std::int64_t i = 0; i < d; ++i) {
    EXPECT_EQ(c.stored_key(0, 0, i), 0);
    EXPECT_NEAR(c.stored_key(1, 0, i), 0, 1e-34);
  }
  EXPECT_GT(c.stored_key(2, 0, 3), type == DType::kF16 ? 65503 : 3.3e38);
  EXPECT_TRUE(std::isnan(c.stored_key(3, 0, 19)));
  EXPECT_NEAR(c.stored_key(4, 0, 1), type == DType::kF16 ? -65504 : -1e30, 4e27);
  EXPECT_NEAR(c.stored_key(5, 0, 0), type == DType::kF16 ? -65504 : -70000, 300);
  EXPECT_FALSE(std::isnan(c.stored_key(5, 0, 1)));
}

TEST_P(Stored, ExtremesAreHeldAndNaNStaysNaN) {
  const Table table = make_table(std::get<0>(GetParam()), detect_features()).value();
  check_extremes(table, std::get<1>(GetParam()), 6, 20);
  check_extremes(table, std::get<1>(GetParam()), 9, 24);
}

TEST_P(Stored, BytesAreThoseOfTheReference) {
  const DType type = std::get<1>(GetParam());
  for (const std::int64_t d : {7, 64, 80}) {
    Cache ours({type, 70, 3, 3, d});
    // All magnitudes, and some numbers exactly between two steps.
    for (std::int64_t i = 0; i < 70; ++i) ours.keys[i * 3 * d] *= std::pow(10.0F, static_cast<float>(i - 35));
    ours.values[0] = 127;
    for (std::int64_t i = 1; i < 7; ++i) ours.values[i] = static_cast<float>(i) + 0.5F;
    Cache reference = ours;
    ours.store(make_table(std::get<0>(GetParam()), detect_features()).value());
    reference.store(make_table("ref", detect_features()).value());
    EXPECT_EQ(ours.key_memory(), reference.key_memory()) << d;
    EXPECT_EQ(ours.value_memory(), reference.value_memory()) << d;
    for (const std::int64_t at_once : {1, 3, 8, 21}) {
      Cache slices = reference;
      slices.store(make_table(std::get<0>(GetParam()), detect_features()).value(), at_once);
      EXPECT_EQ(slices.key_memory(), reference.key_memory()) << d << ", " << at_once << " at a time";
      EXPECT_EQ(slices.value_memory(), reference.value_memory()) << d << ", " << at_once << " at a time";
    }
  }
}

std::string type_name(DType type) {
  return type == DType::kF32 ? "f32" : type == DType::kF16 ? "f16" : type == DType::kBF16 ? "bf16" : "int8";
}
const auto kTypes = ::testing::Values(DType::kF32, DType::kF16, DType::kBF16, DType::kI8);
const auto kSets = ::testing::ValuesIn(available_sets(detect_features()));

INSTANTIATE_TEST_SUITE_P(Sets, Pieces, ::testing::Combine(kSets, kTypes), [](const auto& info) {
  return std::get<0>(info.param) + "_" + type_name(std::get<1>(info.param));
});

INSTANTIATE_TEST_SUITE_P(Sets, Stored, ::testing::Combine(kSets, kTypes), [](const auto& info) {
  return std::get<0>(info.param) + "_" + type_name(std::get<1>(info.param));
});

INSTANTIATE_TEST_SUITE_P(Sets, Attention, ::testing::Combine(kSets, kTypes, ::testing::Bool()),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + type_name(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) ? "_prompt" : "_generated");
                         });

}  // namespace
}  // namespace tw::kernels
