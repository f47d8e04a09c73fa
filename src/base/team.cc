#include "base/team.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tw::base {
namespace {

using namespace std::chrono_literals;

/// Longer than the imbalance of an op, far shorter than a time slice.
constexpr auto kBarrierSpin = 100us;
/// Longer than it takes to wake a thread, on a virtual machine whose idle processors are taken away too.
/// Whoever has slept waits so long awake: the others may have gone to sleep meanwhile. If he did not, two
/// workers whose waking takes longer than kBarrierSpin would sleep at every barrier in turn, for good.
constexpr auto kAlert = 1ms;
/// Longer than what the caller does between two steps: who sleeps may find another process in his place.
constexpr auto kOrderSpin = 300us;
/// A worker is judged by stretches of this length: reading its run delay costs 2 us.
constexpr auto kStretch = 2ms;

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

/// A pause takes 10 to 140 cycles, depending on the processor: only the clock tells how long a spin was.
template <typename F>
bool spin_until(std::chrono::steady_clock::time_point end, const F& done) {
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

/// Returns when `word` no longer holds `old`; sleeps after `spin`.
void wait_for_change(const std::atomic<std::uint32_t>& word, std::uint32_t old,
                     std::chrono::microseconds spin) {
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point alert_until;
  const auto changed = [&] { return word.load(std::memory_order_acquire) != old; };
  if (changed() || spin_until(std::max(Clock::now() + spin, alert_until), changed)) return;
  word.wait(old, std::memory_order_acquire);
  alert_until = Clock::now() + kAlert;
}

constexpr int kTrialRank = -1;

}  // namespace

/// What a worker is told, and what it tells. The caller writes while the worker waits for an order; the
/// worker from there until it reaches the barrier (a job) or ends kRunning (a trial).
struct alignas(64) Team::Slot {
  enum class Trial { kNone, kRunning, kPassed, kFailed };

  std::atomic<std::uint32_t> order{0};
  std::atomic<Trial> trial{Trial::kNone};
  std::atomic<bool> trial_over{false};
  int rank = 0;  ///< number in the job, or kTrialRank
  Clock::time_point ordered;
  Clock::duration trial_limit{};
  std::chrono::nanoseconds delay_before{};  ///< when the stretch began
  Clock::duration worked{};                 ///< in this stretch
  Clock::duration judged{}, waited{};       ///< in stretches that have ended and that the roster has not seen
};

void Barrier::wait() {
  const int threads = threads_;  // read before arriving: once all have arrived it may be resized
  if (threads == 1) return;
  const std::uint32_t generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
  } else {
    wait_for_change(generation_, generation, kBarrierSpin);
  }
}

Team::Team(Placement placement, WaitingTime waiting_time)
    : size_(static_cast<int>(placement.size())),
      placement_(std::move(placement)),
      waiting_time_(std::move(waiting_time)),
      barrier_(size_),
      done_(size_),
      roster_(size_),
      everyone_(size_) {
  std::iota(everyone_.begin(), everyone_.end(), 0);
  for (int worker = 0; worker < size_; ++worker) slots_.push_back(std::make_unique<Slot>());
  for (int worker = 1; worker < size_; ++worker) {
    threads_.emplace_back([this, worker] {
      const ThreadPin pin(placement_[worker]);
      work(*slots_[worker]);
    });
  }
}

Team::~Team() {
  stopping_.store(true, std::memory_order_release);
  for (const auto& slot : slots_) {
    slot->order.fetch_add(1, std::memory_order_release);
    slot->order.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void Team::run(const std::function<void(int)>& f) {
  run(size_, [&f](int worker, int) { f(worker); });
}

void Team::run(int workers, const Job& f) {
  TW_CHECK(workers >= 1 && workers <= size_, "a team runs with one to all of its workers");
  start({everyone_.data(), static_cast<std::size_t>(workers)}, f);
}

void Team::run_available(const Job& f) {
  const Clock::time_point now = Clock::now();
  if (now >= next_look_) look(now);
  start(roster_.members(), f);
}

void Team::start(std::span<const int> members, const Job& f) {
  job_ = &f;
  workers_ = static_cast<int>(members.size());
  barrier_.resize(workers_);
  done_.resize(workers_);
  const Clock::time_point now = Clock::now();
  slots_[0]->ordered = now;
  for (int rank = 1; rank < workers_; ++rank) order(*slots_[members[rank]], rank, now);
  f(0, workers_);
  account(*slots_[0]);
  done_.wait();
}

void Team::order(Slot& slot, int rank, Clock::time_point now) {
  if (slot.trial.load(std::memory_order_acquire) == Slot::Trial::kRunning) {
    slot.trial_over.store(true, std::memory_order_release);
    slot.trial.wait(Slot::Trial::kRunning, std::memory_order_acquire);
  }
  slot.rank = rank;
  slot.ordered = now;
  if (rank == kTrialRank) {
    slot.trial_over.store(false, std::memory_order_relaxed);
    slot.trial.store(Slot::Trial::kRunning, std::memory_order_relaxed);
  }
  slot.order.fetch_add(1, std::memory_order_release);
  slot.order.notify_all();
}

void Team::look(Clock::time_point now) {
  next_look_ = now + kStretch;
  for (int worker = 0; worker < size_; ++worker) {
    Slot& slot = *slots_[worker];
    const Clock::duration judged = std::exchange(slot.judged, {}), waited = std::exchange(slot.waited, {});
    roster_.record(worker, judged, waited);
  }
  roster_.choose(now);
  for (int worker = 1; worker < size_; ++worker) {
    Slot& slot = *slots_[worker];
    const Slot::Trial trial = slot.trial.load(std::memory_order_acquire);
    if (trial == Slot::Trial::kPassed || trial == Slot::Trial::kFailed) {
      slot.trial.store(Slot::Trial::kNone, std::memory_order_relaxed);
      roster_.tried(worker, trial == Slot::Trial::kPassed, now);
    } else if (trial == Slot::Trial::kNone && roster_.trial_due(worker, now)) {
      slot.trial_limit = roster_.trial_limit();
      order(slot, kTrialRank, now);
    }
  }
}

void Team::work(Slot& slot) {
  for (std::uint32_t seen = 0;;) {
    wait_for_change(slot.order, seen, kOrderSpin);
    if (stopping_.load(std::memory_order_acquire)) return;
    ++seen;
    if (slot.rank == kTrialRank) {
      show_up(slot);
    } else {
      (*job_)(slot.rank, workers_);
      account(slot);
      done_.wait();
    }
  }
}

void Team::account(Slot& slot) {
  slot.worked += Clock::now() - slot.ordered;
  if (slot.worked < kStretch) return;
  const std::chrono::nanoseconds delay = waiting_time_();
  slot.judged += std::exchange(slot.worked, {});
  slot.waited += delay - std::exchange(slot.delay_before, delay);
}

void Team::show_up(Slot& slot) {
  // Getting here does not count: whoever is woken waits for the end of a slice, be it of a process that would
  // never take the processor from one that runs.
  const std::chrono::nanoseconds before = waiting_time_();
  const Clock::time_point end = Clock::now() + Roster::kTrial;
  const auto over = [&] {
    return slot.trial_over.load(std::memory_order_relaxed) || stopping_.load(std::memory_order_relaxed);
  };
  Slot::Trial result = Slot::Trial::kPassed;
  do {
    if (spin_until(std::min(end, Clock::now() + 100us), over)) result = Slot::Trial::kNone;
    slot.delay_before = waiting_time_();
    if (slot.delay_before - before > slot.trial_limit) result = Slot::Trial::kFailed;
  } while (result == Slot::Trial::kPassed && Clock::now() < end);
  slot.worked = {};
  slot.trial.store(result, std::memory_order_release);
  slot.trial.notify_all();
}

}  // namespace tw::base
