#include "kernels/probe.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "base/team.h"
#include "kernels/table.h"

namespace tw::kernels {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLeastBuffer = std::size_t{64} << 20, kLargestBuffer = std::size_t{1} << 30;
constexpr double kSeconds = 0.2;  ///< for each of the two measurements

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<std::uint8_t, Free>;

Buffer allocate(std::size_t bytes) {
  Buffer buffer(static_cast<std::uint8_t*>(std::aligned_alloc(kHugePage, bytes)));
  if (buffer != nullptr) madvise(buffer.get(), bytes, MADV_HUGEPAGE);  // a hint: fewer address translations
  return buffer;
}

/// About `bytes`, within the limits above and a quarter of the memory that is free; a multiple of a huge
/// page.
std::size_t buffer_bytes(std::size_t bytes) {
  std::size_t wanted = std::clamp(bytes, kLeastBuffer, kLargestBuffer);
  const std::uint64_t available = base::detect_machine().memory_available;
  if (available > 0) wanted = std::min<std::size_t>(wanted, available / 4);
  return (wanted + kHugePage - 1) / kHugePage * kHugePage;
}

/// Marsaglia's xorshift64: memory and multipliers use less power on zeros, and may then be faster than on
/// weights.
void fill_random(std::uint8_t* data, std::size_t bytes, std::uint64_t seed) {
  auto* words = reinterpret_cast<std::uint64_t*>(data);
  std::uint64_t x = seed * 0x9E3779B97F4A7C15ULL + 1;
  for (std::size_t i = 0; i < bytes / 8; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    words[i] = x;
  }
}

/// Seconds that all workers together need to run f(worker) once.
template <typename F>
double timed(base::Team& team, const F& f) {
  const Clock::time_point begin = Clock::now();
  team.run(f);
  return seconds_since(begin);
}

/// The best pass of all read loops; each loop runs at least twice.
double read_bandwidth(base::Team& team, const std::vector<Table>& sets, std::size_t wanted) {
  const std::size_t total = buffer_bytes(wanted);
  const std::size_t slice = total / team.size() / 4096 * 4096;
  const Buffer buffer = allocate(total);
  if (buffer == nullptr || slice == 0) return 0;
  // Filled by the worker that reads it: a page lies in the memory of the processor that first wrote it.
  team.run([&](int worker) { fill_random(buffer.get() + worker * slice, slice, worker + 1); });
  double best = 0;
  std::vector<std::uint64_t> sums(team.size() * 8);  // a cache line each
  const Clock::time_point begin = Clock::now();
  for (int pass = 0; pass < 2 || seconds_since(begin) < kSeconds; ++pass) {
    for (const Table& set : sets) {
      for (const std::int64_t prefetch : {0, 1024, 4096}) {
        const double seconds = timed(team, [&](int worker) {
          sums[worker * 8] +=
              set.read_sum({buffer.get() + worker * slice, static_cast<std::int64_t>(slice), prefetch});
        });
        best = std::max(best, static_cast<double>(slice) * team.size() / seconds);
      }
    }
  }
  return best;
}

/// Repeats one way to multiply until it has had its share of the time; returns the best FLOP/s of a run.
double peak_of_way(base::Team& team, const Table& set, PeakArgs args) {
  constexpr double kRun = 0.004, kShare = 0.05;
  std::vector<double> sums(team.size() * 8);
  double best = 0;
  const Clock::time_point begin = Clock::now();
  while (seconds_since(begin) < kShare) {
    const double flops = set.peak({args.way, args.data, args.values, 1}).flops *
                         static_cast<double>(args.rounds) * team.size();
    const double seconds = timed(team, [&](int worker) { sums[worker * 8] += set.peak(args).sum; });
    best = std::max(best, flops / seconds);
    if (seconds < kRun) args.rounds *= 2;
  }
  return best;
}

void find_peaks(base::Team& team, const std::vector<Table>& sets, Ceilings& ceilings) {
  const PeakData data;
  for (const Table& set : sets) {
    for (int way = 0;; ++way) {
      const PeakResult one = set.peak({way, data.bytes, data.values, 1});
      if (one.name == nullptr) break;
      ceilings.peaks.push_back({one.name, peak_of_way(team, set, {way, data.bytes, data.values, 1024})});
    }
  }
}

/// The table of each set, leaving out those that measure with a lower set's loops.
std::vector<Table> distinct_sets() {
  const CpuFeatures features = detect_features();
  std::vector<Table> sets;
  for (const std::string& name : available_sets(features)) {
    Table table = make_table(name, features).value();
    const auto same = [&](const Table& t) { return t.read_sum == table.read_sum && t.peak == table.peak; };
    if (std::none_of(sets.begin(), sets.end(), same)) sets.push_back(std::move(table));
  }
  return sets;
}

}  // namespace

PeakData::PeakData() {
  fill_random(bytes, sizeof bytes, 7);
  for (int i = 0; i < kPeakBytes / 4; ++i) values[i] = static_cast<float>(bytes[i]) / 256 - 0.5F;
}

const Ceilings::Peak& Ceilings::best(std::string_view kind) const {
  const Peak* best = &peaks.front();  // `ref` has one at least
  for (const Peak& peak : peaks) {
    const bool fits = peak.name.find(kind) != std::string::npos,
               fitted = best->name.find(kind) != std::string::npos;
    if (fits && (!fitted || peak.flops_per_second > best->flops_per_second)) best = &peak;
  }
  return *best;
}

Ceilings probe_ceilings(int threads, std::size_t bytes) {
  base::Team team(std::max(1, threads));
  const std::vector<Table> sets = distinct_sets();
  Ceilings ceilings;
  ceilings.bytes_per_second = read_bandwidth(team, sets, bytes);
  find_peaks(team, sets, ceilings);
  return ceilings;
}

}  // namespace tw::kernels
