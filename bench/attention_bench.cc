// Attention of each kernel set this machine has, on one thread, over an fp16 cache: a whole prompt (what its
// multiplications take: floating-point operations a second, two for each query, visible position and element
// of keys and of values), and one generated token after so many positions (what reading the cache takes:
// bytes a second). Shapes: query heads x head size, key and value heads. Generated tokens go through 30
// caches in turn, as the layers of a model do, so that long ones come from memory.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/table.h"

namespace {

using tw::kernels::kAttentionRows;
using tw::kernels::kKvBlock;

struct Shape {
  std::int64_t heads, kv_heads, d;
};
constexpr Shape kShapes[] = {{9, 3, 64}, {32, 4, 64}, {32, 8, 128}};

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <typename T>
using Buffer = std::unique_ptr<T, Free>;
template <typename T>
Buffer<T> allocate(std::int64_t count) {
  return Buffer<T>(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 4096 + 63) / 64 * 64)));
}

/// Fp16 numbers between 0.25 and 2 of either sign.
Buffer<std::uint16_t> random_halves(std::int64_t count) {
  Buffer<std::uint16_t> buffer = allocate<std::uint16_t>(count);
  std::mt19937 generator(1);
  for (std::int64_t i = 0; i < count; ++i)
    buffer.get()[i] = static_cast<std::uint16_t>(0x3400 + generator() % 0xC00 + (generator() % 2 << 15));
  return buffer;
}

/// One sequence's cache in several layers, and queries for `rows` rows.
struct Sequence {
  Sequence(const Shape& shape, std::int64_t length_, std::int64_t layers, std::int64_t rows)
      : s(shape),
        length((length_ + kKvBlock - 1) / kKvBlock * kKvBlock),
        elements(length * s.kv_heads * s.d),
        keys(random_halves(elements * layers)),
        values(random_halves(elements * layers)),
        q(static_cast<std::size_t>(rows * s.heads * s.d)),
        out(q.size()),
        scratch(allocate<float>(tw::kernels::attention_scratch(s.heads / s.kv_heads, s.d))) {
    std::mt19937 generator(2);
    std::normal_distribution<float> distribution;
    for (float& value : q) value = distribution(generator);
    for (std::int64_t i = 0; i < length / kKvBlock; ++i) blocks.push_back(static_cast<std::int32_t>(i));
  }

  void run(void (*attention)(const tw::kernels::AttentionArgs&), std::int64_t layer, std::int64_t begin,
           std::int64_t end, std::int64_t first_position) {
    const std::int64_t group = s.heads / s.kv_heads;
    const tw::kernels::KvLayer kv = {keys.get() + layer * elements,
                                     values.get() + layer * elements,
                                     tw::base::DType::kF16,
                                     kKvBlock,
                                     s.kv_heads,
                                     s.d};
    for (std::int64_t head = 0; head < s.kv_heads; ++head) {
      attention({kv, q.data(), out.data(), s.heads * s.d, blocks.data(), first_position, begin, end,
                 head * group, (head + 1) * group, head, 0, 1.0F / std::sqrt(static_cast<float>(s.d)),
                 scratch.get()});
    }
  }

  Shape s;
  std::int64_t length, elements;
  Buffer<std::uint16_t> keys, values;
  std::vector<float> q, out;
  std::vector<std::int32_t> blocks;
  Buffer<float> scratch;
};

void prompt(benchmark::State& state, const std::string& set, const Shape& s) {
  const std::int64_t rows = state.range(0);
  const auto table = tw::kernels::make_table(set, tw::kernels::detect_features()).value();
  Sequence sequence(s, rows, 1, rows);
  for (auto _ : state) {
    for (std::int64_t row = 0; row < rows; row += kAttentionRows)
      sequence.run(table.prompt_attention, 0, row, std::min(row + kAttentionRows, rows), row);
    benchmark::ClobberMemory();
  }
  const double flops = 4.0 * static_cast<double>(s.heads * s.d) * static_cast<double>(rows * (rows + 1) / 2);
  state.counters["flops"] =
      benchmark::Counter(flops * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void generate(benchmark::State& state, const std::string& set, const Shape& s) {
  constexpr std::int64_t kLayers = 30;
  const std::int64_t length = state.range(0);
  const auto table = tw::kernels::make_table(set, tw::kernels::detect_features()).value();
  Sequence sequence(s, length, kLayers, 1);
  std::int64_t layer = 0;
  for (auto _ : state) {
    sequence.run(table.attention, layer, 0, 1, length - 1);
    layer = (layer + 1) % kLayers;
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * length * s.kv_heads * s.d * 4);
}

const bool kRegistered = [] {
  for (const std::string& set : tw::kernels::available_sets(tw::kernels::detect_features())) {
    for (const Shape& s : kShapes) {
      const std::string shape =
          std::to_string(s.heads) + "x" + std::to_string(s.d) + "/" + std::to_string(s.kv_heads);
      const auto add = [&](const std::string& name, auto run) {
        benchmark::RegisterBenchmark((name + "/" + set + "/" + shape).c_str(),
                                     [=](benchmark::State& state) { run(state, set, s); })
            ->Arg(512)
            ->Arg(4096);
      };
      add("prompt", prompt);
      add("generate", generate);
    }
  }
  return true;
}();

}  // namespace
