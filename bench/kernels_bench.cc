// Products of each kernel set this machine has with each weight type, on one thread: bytes of packed weights
// a second (what bounds T = 1) and floating-point operations a second (what bounds T = 64 and more). The
// shapes are SmolLM2-135M's up-projection (K = 576) and down-projection (K = 1536), and the latter of a 1.1B
// Llama. Those weights are larger than most nearest caches, but not than all; the cases named "memory" go
// through 400 MB of such matrices instead, and "read" is the best that reading 400 MB reaches on one thread.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "kernels/table.h"

namespace {

using tw::base::DType;

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<std::uint8_t, Free>;

/// Of huge pages where the system has them, as weights are.
Buffer allocate(std::int64_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t whole = (static_cast<std::size_t>(bytes) + 4096 + kHugePage - 1) / kHugePage * kHugePage;
  Buffer buffer(static_cast<std::uint8_t*>(std::aligned_alloc(kHugePage, whole)));
  madvise(buffer.get(), whole, MADV_HUGEPAGE);
  return buffer;
}

/// Random bytes, any two of which are a normal fp16 number below 2: no scale is infinite, none so small that
/// it is slow.
Buffer random_weights(std::int64_t bytes) {
  Buffer buffer = allocate(bytes);
  std::mt19937 generator(1);
  for (std::int64_t i = 0; i < bytes; ++i)
    buffer.get()[i] = static_cast<std::uint8_t>((generator() & 0xBF) | 0x20);
  return buffer;
}

/// One product, packed and prepared once.
struct Product {
  Product(const tw::kernels::MatmulKernel& kernel, const tw::kernels::MatmulPath& path_, DType type,
          std::int64_t rows, std::int64_t n, std::int64_t k)
      : path(path_),
        x(static_cast<std::size_t>(rows * k)),
        out(static_cast<std::size_t>(rows * n)),
        bytes(static_cast<std::int64_t>(tw::base::row_bytes(type, k)) * n) {
    std::mt19937 generator(2);
    std::normal_distribution<float> distribution;
    for (float& value : x) value = distribution(generator);
    const std::int64_t groups = (n + tw::base::kPaletteRows - 1) / tw::base::kPaletteRows;
    weight = random_weights(bytes + (groups * 2 << tw::base::palette_bits(type)));
    if (kernel.packed_bytes != nullptr) {
      const std::int64_t source_bytes = bytes;  // behind them: tables, for palettes
      bytes = kernel.packed_bytes(type, n, k);
      Buffer packed = allocate(bytes);
      kernel.pack({type, weight.get(), packed.get(), 0, n, n, k, weight.get() + source_bytes});
      weight = std::move(packed);
    }
    if (path.prepare != nullptr) {
      prepared = allocate(path.prepared_bytes(rows, k));
      path.prepare({x.data(), k, prepared.get(), 0, rows, k});
    }
    if (path.scratch_bytes != nullptr) scratch = allocate(path.scratch_bytes(rows, k));
    const void* input = prepared == nullptr ? static_cast<const void*>(x.data()) : prepared.get();
    args = {type, weight.get(), 0, n, n, k, input, rows, out.data(), n, nullptr, nullptr, scratch.get()};
  }

  const tw::kernels::MatmulPath& path;
  std::vector<float> x, out;
  std::int64_t bytes;  ///< of the weights as the kernel reads them
  Buffer weight, prepared, scratch;
  tw::kernels::MatmulArgs args{};
};

void matmul(benchmark::State& state, const std::string& set, DType type, bool prompt, std::int64_t n,
            std::int64_t k) {
  const std::int64_t rows = state.range(0);
  const auto table = tw::kernels::make_table(set, tw::kernels::detect_features()).value();
  const tw::kernels::MatmulKernel& kernel = *table.matmul[static_cast<int>(type)];
  const tw::kernels::MatmulPath* prefill = table.prefill[static_cast<int>(type)];
  const Product product(kernel, prompt ? *prefill : kernel.decode, type, rows, n, k);
  for (auto _ : state) {
    product.path.run(product.args);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * product.bytes);
  state.counters["T"] = static_cast<double>(rows);
  state.counters["N"] = static_cast<double>(n);
  state.counters["K"] = static_cast<double>(k);
  state.counters["flops_per_second"] =
      benchmark::Counter(2.0 * static_cast<double>(rows * n * k) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

constexpr std::int64_t kMemoryBytes = 400'000'000;

/// The same through kMemoryBytes of matrices: no cache holds them. Each thread has its own share.
void matmul_memory(benchmark::State& state, const std::string& set, DType type, std::int64_t n,
                   std::int64_t k) {
  const auto table = tw::kernels::make_table(set, tw::kernels::detect_features()).value();
  const tw::kernels::MatmulKernel& kernel = *table.matmul[static_cast<int>(type)];
  const Product product(kernel, kernel.decode, type, state.range(0), n, k);
  const std::int64_t stride = (product.bytes + 63) / 64 * 64;
  const std::int64_t count = kMemoryBytes / state.threads() / stride + 1;
  const Buffer weights = allocate(stride * count);
  for (std::int64_t i = 0; i < count; ++i)
    std::memcpy(weights.get() + i * stride, product.weight.get(), product.bytes);
  std::int64_t next = 0;
  for (auto _ : state) {
    tw::kernels::MatmulArgs args = product.args;
    args.weight = weights.get() + next * stride;
    next = next + 1 == count ? 0 : next + 1;
    product.path.run(args);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * product.bytes);
}

/// The best that the read loops of `tokenworks bench` reach.
void read_memory(benchmark::State& state, const std::string& set) {
  const auto table = tw::kernels::make_table(set, tw::kernels::detect_features()).value();
  const std::int64_t bytes = kMemoryBytes / state.threads() / 4096 * 4096;
  const Buffer data = random_weights(bytes);
  for (auto _ : state) benchmark::DoNotOptimize(table.read_sum({data.get(), bytes, state.range(0)}));
  state.SetBytesProcessed(state.iterations() * bytes);
}

const bool kRegistered = [] {
  constexpr DType kTypes[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,     DType::kQ8_0,
                              DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K,     DType::kQ6_K,
                              DType::kF16,  DType::kBF16, DType::kF32,  DType::kPalette4, DType::kPalette2};
  for (const std::string& set : tw::kernels::available_sets(tw::kernels::detect_features())) {
    benchmark::RegisterBenchmark(("read/" + set).c_str(),
                                 [=](benchmark::State& state) { read_memory(state, set); })
        ->Arg(0)
        ->Arg(1024)
        ->Arg(2048)
        ->Arg(4096)
        ->Threads(1)
        ->Threads(2)
        ->UseRealTime();
    for (const DType type : kTypes) {
      const std::string memory = "matmul/" + set + "/" + std::string(tw::base::dtype_name(type)) + "/memory";
      benchmark::RegisterBenchmark(
          memory.c_str(), [=](benchmark::State& state) { matmul_memory(state, set, type, 2048, 5632); })
          ->Arg(1)
          ->Arg(4)
          ->Arg(16)
          ->Arg(64)
          ->Threads(1)
          ->Threads(2)
          ->UseRealTime();
      for (const auto& [n, k] :
           {std::pair<std::int64_t, std::int64_t>{1536, 576}, {576, 1536}, {2048, 5632}}) {
        if (k % tw::base::dtype_info(type).block_elements != 0)
          continue;  // 576 is no whole number of super-blocks
        const std::string name = "matmul/" + set + "/" + std::string(tw::base::dtype_name(type)) + "/" +
                                 std::to_string(n) + "x" + std::to_string(k);
        const auto add = [&](const std::string& full, bool prompt) {
          return benchmark::RegisterBenchmark(full.c_str(), [=, n = n, k = k](benchmark::State& state) {
            matmul(state, set, type, prompt, n, k);
          });
        };
        add(name, false)->Arg(1)->Arg(16)->Arg(64);
        const auto table = tw::kernels::make_table(set, tw::kernels::detect_features()).value();
        if (table.prefill[static_cast<int>(type)] != nullptr)
          add(name + "/prefill", true)->Arg(16)->Arg(64)->Arg(128)->Arg(256)->Arg(512);
      }
    }
  }
  return true;
}();

}  // namespace
