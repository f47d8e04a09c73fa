#include "plan/op_bench.h"

#include <algorithm>
#include <chrono>

#include "plan/statistics.h"

namespace tw::plan {
namespace {

using Clock = std::chrono::steady_clock;

/// A sample is at least so long, so that starting the workers and reading the clock do not count.
constexpr double kSample = 1e-3;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// How many calls make a sample, after so many took `seconds`.
std::int64_t more_calls(std::int64_t calls, double seconds) {
  if (seconds <= 0) return calls * 4;
  return std::min<std::int64_t>(calls * 4, static_cast<std::int64_t>(calls * kSample / seconds) + 1);
}

/// Medians of samples until `budget` is used up, or for long ones of three within three times that;
/// sample(first, calls) gives the seconds of so many calls.
template <typename Sample>
double median_of_samples(double budget, Sample sample) {
  constexpr std::int64_t kMostCalls = 1 << 24;
  std::int64_t calls = 1, done = 0;
  const auto timed = [&] {
    const double seconds = sample(done, calls);
    done += calls;
    return seconds;
  };
  // Warms up, and finds how many calls make a sample. It does not count: it may have waited for a worker to
  // wake.
  for (double once = timed(); once < kSample && calls < kMostCalls; once = timed())
    calls = more_calls(calls, once);
  std::vector<double> each;
  auto begin = Clock::now();
  while (each.empty() || since(begin) < budget || (each.size() < 3 && since(begin) < 3 * budget)) {
    const double once = timed();
    if (once < kSample / 2 && calls < kMostCalls) {  // something else was in the first one's time
      calls = more_calls(calls, once);
      each.clear();
      begin = Clock::now();
    } else {
      each.push_back(once / static_cast<double>(calls));
    }
  }
  return median(each);
}

}  // namespace

base::Result<std::unique_ptr<OpBench>> OpBench::make(const kernels::Table& table, int threads,
                                                     double seconds) {
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(threads, {}));
  return std::unique_ptr<OpBench>(new OpBench(table, std::move(placement), seconds));
}

base::Status OpBench::make_room(const Op& op, ops::Tape* tape) {
  ops::Trace trace;
  ops::Exec ex(table_, trace);
  if (tape != nullptr) tape->clear(), ex.train(tape);
  op(ex, 0);
  if (tape != nullptr) tape->backward(ex);
  if (arena_.size() < ex.arena().peak()) {
    TW_ASSIGN_OR_RETURN(arena_, tensor::Buffer::allocate(ex.arena().peak(), "a benchmark's activations"));
  }
  if (!scratch_.empty() && scratch_[0].size() >= ex.scratch_peak()) return base::Ok{};
  scratch_.clear();
  for (int i = 0; i < threads(); ++i) {
    scratch_.emplace_back();
    TW_ASSIGN_OR_RETURN(scratch_.back(),
                        tensor::Buffer::allocate(ex.scratch_peak() + 64, "a benchmark's scratch"));
  }
  return base::Ok{};
}

double OpBench::sample(const Op& op, ops::Tape* tape, std::int64_t first, std::int64_t calls) {
  const auto begin = Clock::now();
  team_.run([&](int worker) {
    ops::Exec ex(table_, team_.barrier(), worker, threads(), tensor::Arena(arena_.data(), arena_.size()),
                 scratch_[worker].data(), scratch_[worker].size());
    for (std::int64_t call = first; call < first + calls; ++call) {
      const tensor::Arena::Scope scope(ex.arena());
      if (tape != nullptr) {
        ex.barrier();  // the others may still walk it
        if (worker == 0) tape->clear();
        ex.barrier();
        ex.train(tape);
      }
      op(ex, call);
      if (tape != nullptr) tape->backward(ex);
    }
  });
  return since(begin);
}

base::Result<double> OpBench::seconds(const Op& op, ops::Tape* tape) {
  TW_RETURN_IF_ERROR(make_room(op, tape));
  const base::ThreadPin pin(team_.placement()[0]);
  return median_of_samples(
      seconds_, [&](std::int64_t first, std::int64_t calls) { return sample(op, tape, first, calls); });
}

void OpBench::run(const std::function<void(ops::Exec& ex)>& f) {
  team_.run([&](int worker) {
    ops::Exec ex(table_, team_.barrier(), worker, threads(), {}, nullptr, 0);
    f(ex);
  });
}

double OpBench::seconds_of(const std::function<void(int worker)>& f) {
  const base::ThreadPin pin(team_.placement()[0]);
  return median_of_samples(seconds_, [&](std::int64_t, std::int64_t calls) {
    const auto begin = Clock::now();
    for (std::int64_t i = 0; i < calls; ++i) team_.run(f);
    return since(begin);
  });
}

}  // namespace tw::plan
