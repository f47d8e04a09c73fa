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

/// An op of which one call is as long as a few samples has warmed up by its own beginning.
constexpr double kLongCall = 3 * kSample;
constexpr int kVisits = 4;
/// Two calls that take so long have seen all that comes and goes.
constexpr double kEnough = 0.15;

/// How many calls make a sample, after so many took `seconds`.
std::int64_t more_calls(std::int64_t calls, double seconds) {
  if (seconds <= 0) return calls * 4;
  return std::min<std::int64_t>(calls * 4, static_cast<std::int64_t>(calls * kSample / seconds) + 1);
}

}  // namespace

/// Collects one op's samples in visits of so many seconds, each with one sample at least.
class OpBench::Samples {
 public:
  explicit Samples(double seconds_of_visit) : visit_(seconds_of_visit) {}

  /// A visit that is made again replaces what it was.
  void begin_visit(int number) {
    if (number == visit_number_) each_.resize(std::min(each_.size(), before_));
    visit_number_ = number, before_ = each_.size();
    warm_ = !each_.empty() && each_.back() > kLongCall;
    begin_ = Clock::now();
    taken_ = 0;
  }
  /// How many calls the next sample has; 0: the visit is over.
  std::int64_t next() const { return taken_ > 0 && since(begin_) >= visit_ ? 0 : calls_; }
  /// They took so many seconds. What warms up does not count: it may have waited for a worker to wake, or for
  /// what the op before left in the caches. Nor does what finds how many calls make a sample.
  void took(double seconds) {
    if (seconds < (warm_ ? kSample / 2 : kSample) && calls_ < kMostCalls) {
      calls_ = more_calls(calls_, seconds);  // when warm: something else was in the time of the first
      each_.clear();
      before_ = 0;
    } else if (warm_) {
      each_.push_back(seconds / static_cast<double>(calls_)), ++taken_;
      return;
    } else {
      warm_ = true;
    }
    begin_ = Clock::now(), taken_ = 0;
  }
  /// By the shortest: a hiccup may have been in one.
  bool enough() const {
    return each_.size() >= 2 && *std::ranges::min_element(each_) * std::ssize(each_) >= kEnough;
  }
  /// What the last visit took counts only where no other does.
  void set_unusual() {
    const auto first = each_.begin() + std::ssize(each_) - taken_;
    unusual_.assign(first, each_.end());
    each_.erase(first, each_.end());
  }
  double result() const { return steady_mean(each_.empty() ? unusual_ : each_); }

 private:
  static constexpr std::int64_t kMostCalls = 1 << 24;
  double visit_;
  std::int64_t calls_ = 1, taken_ = 0;
  bool warm_ = false;
  int visit_number_ = 0;
  std::vector<double> each_, unusual_;
  std::size_t before_ = 0;  ///< samples of the visits before
  Clock::time_point begin_ = Clock::now();
};

base::Result<std::unique_ptr<OpBench>> OpBench::make(const kernels::Table& table, int threads, double seconds,
                                                     UsualState* usual) {
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(threads, {}));
  return std::unique_ptr<OpBench>(new OpBench(table, std::move(placement), seconds, usual));
}

base::Status OpBench::make_room(const TimedOp& timed) {
  ops::Trace trace;
  ops::Exec ex(table_, trace);
  if (timed.tape != nullptr) timed.tape->clear(), ex.train(timed.tape.get());
  timed.op(ex, 0);
  if (timed.tape != nullptr) timed.tape->backward(ex);
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

void OpBench::call(const TimedOp& timed, ops::Exec& ex, std::int64_t call) {
  const tensor::Arena::Scope scope(ex.arena());
  if (ops::Tape* const tape = timed.tape.get(); tape != nullptr) {
    ex.barrier();  // the others may still walk it
    if (ex.worker() == 0) tape->clear();
    ex.barrier();
    ex.train(tape);
  }
  timed.op(ex, call);
  if (timed.tape != nullptr) timed.tape->backward(ex);
}

void OpBench::visit(const TimedOp& timed, Samples& samples, std::int64_t& next) {
  std::int64_t calls = samples.next();  // worker 0 writes it, the others read it between two barriers
  // One run for all samples: to wake a worker takes a millisecond on some virtual machines.
  team_.run([&](int worker) {
    ops::Exec ex(table_, team_.barrier(), worker, threads(), tensor::Arena(arena_.data(), arena_.size()),
                 scratch_[worker].data(), scratch_[worker].size());
    for (std::int64_t at = next;;) {
      ex.barrier();
      const std::int64_t end = at + calls;
      if (at == end) {
        ex.barrier();  // all have read `next`
        if (worker == 0) next = at;
        break;
      }
      const auto begin = Clock::now();
      for (; at < end; ++at) call(timed, ex, at);
      ex.barrier();
      if (worker == 0) {
        samples.took(since(begin));
        calls = samples.next();
      }
    }
  });
}

base::Status OpBench::time(std::span<const TimedOp> ops) {
  for (const TimedOp& timed : ops) TW_RETURN_IF_ERROR(make_room(timed));
  const base::ThreadPin pin(team_.placement()[0]);
  std::vector<Samples> samples(ops.size(), Samples(seconds_ / kVisits));
  std::vector<std::int64_t> next(ops.size());
  for (int number = 1; number <= kVisits; ++number) {
    for (std::size_t i = 0; i < ops.size(); ++i) {
      if (samples[i].enough()) continue;
      const auto once = [&]() -> base::Status {
        samples[i].begin_visit(number);
        visit(ops[i], samples[i], next[i]);
        return base::Ok{};
      };
      TW_RETURN_IF_ERROR(usual_ == nullptr ? once() : usual_->when_usual(team_, once));
      if (usual_ != nullptr && !usual_->was_usual()) samples[i].set_unusual();
    }
  }
  for (std::size_t i = 0; i < ops.size(); ++i) ops[i].take(samples[i].result());
  return base::Ok{};
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
  samples.begin_visit(1);
  while (const std::int64_t calls = samples.next()) {
    const auto begin = Clock::now();
    for (std::int64_t i = 0; i < calls; ++i) team_.run(f);
    samples.took(since(begin));
  }
  return samples.result();
}

}  // namespace tw::plan
