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

/// Collects samples until `budget` seconds are used up, or for long ones until there are three within three
/// times that.
class Samples {
 public:
  explicit Samples(double budget) : budget_(budget) {}

  /// How many calls the next sample has; 0: there are enough.
  std::int64_t next() const {
    const double passed = since(begin_);
    const bool enough = passed >= budget_ && (each_.size() >= 3 || passed >= 3 * budget_);
    return !each_.empty() && enough ? 0 : calls_;
  }
  /// They took so many seconds. The first ones find how many calls make a sample, and do not count: they may
  /// have waited for a worker to wake.
  void took(double seconds) {
    const bool short_one = seconds < (warm_ ? kSample / 2 : kSample) && calls_ < kMostCalls;
    if (warm_ && !short_one) {
      each_.push_back(seconds / static_cast<double>(calls_));
      return;
    }
    if (short_one)
      calls_ = more_calls(calls_, seconds);  // when warm: something else was in the first one's time
    warm_ = !short_one || warm_;
    each_.clear();
    begin_ = Clock::now();
  }
  double result() const { return median(each_); }

 private:
  static constexpr std::int64_t kMostCalls = 1 << 24;
  double budget_;
  std::int64_t calls_ = 1;
  bool warm_ = false;
  std::vector<double> each_;
  Clock::time_point begin_ = Clock::now();
};

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

base::Result<double> OpBench::seconds(const Op& op, ops::Tape* tape) {
  TW_RETURN_IF_ERROR(make_room(op, tape));
  const base::ThreadPin pin(team_.placement()[0]);
  Samples samples(seconds_);
  std::int64_t calls = samples.next();  // worker 0 writes it, the others read it between two barriers
  // One run for all samples: to wake a worker takes a millisecond on some virtual machines.
  team_.run([&](int worker) {
    ops::Exec ex(table_, team_.barrier(), worker, threads(), tensor::Arena(arena_.data(), arena_.size()),
                 scratch_[worker].data(), scratch_[worker].size());
    for (std::int64_t call = 0;;) {
      ex.barrier();
      const std::int64_t end = call + calls;
      if (call == end) break;
      const auto begin = Clock::now();
      for (; call < end; ++call) {
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
      ex.barrier();
      if (worker == 0) {
        samples.took(since(begin));
        calls = samples.next();
      }
    }
  });
  return samples.result();
}

void OpBench::run(const std::function<void(ops::Exec& ex)>& f) {
  team_.run([&](int worker) {
    ops::Exec ex(table_, team_.barrier(), worker, threads(), {}, nullptr, 0);
    f(ex);
  });
}

double OpBench::seconds_of(const std::function<void(int worker)>& f) {
  const base::ThreadPin pin(team_.placement()[0]);
  Samples samples(seconds_);
  while (const std::int64_t calls = samples.next()) {
    const auto begin = Clock::now();
    for (std::int64_t i = 0; i < calls; ++i) team_.run(f);
    samples.took(since(begin));
  }
  return samples.result();
}

}  // namespace tw::plan
