// Team: worker threads that run one function together, step after step, with as many of them as have a
// processor.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/affinity.h"
#include "base/roster.h"
#include "base/run_delay.h"

namespace tw::base {

/// A reusable barrier for n threads. A waiter spins briefly (a step of a small model is microseconds) and
/// then sleeps in the kernel, so that a busy neighbour on the same core is let in instead of being spun
/// against.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  /// Returns once all threads have called it; what each wrote before is visible to all after.
  void wait();
  /// From the next wait() on it is for so many. REQUIRES: none waits, and those who will are told later.
  void resize(int threads) { threads_ = threads; }

 private:
  int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
};

/// Owns size-1 threads; the caller of run() is worker 0. The run functions are for one caller at a time.
class Team {
 public:
  /// A worker's share of a job: it is number `worker` of `workers`.
  using Job = std::function<void(int worker, int workers)>;

  /// How long the calling thread has waited for a processor in all.
  using WaitingTime = std::function<std::chrono::nanoseconds()>;

  /// Workers that run anywhere.
  explicit Team(int size) : Team(Placement(size)) {}
  /// Each worker keeps to the processors of its list, and worker 0, the caller of run(), sees to itself
  /// (ThreadPin).
  explicit Team(Placement placement, WaitingTime waiting_time = run_delay);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  const Placement& placement() const { return placement_; }
  /// Of those that run the job.
  Barrier& barrier() { return barrier_; }

  /// Runs f(worker) on all workers, worker in [0, size), and returns when all have returned.
  void run(const std::function<void(int worker)>& f);
  /// The same on the first `workers` of them, 1 to size().
  void run(int workers, const Job& f);
  /// The same on those that do not have to share their processor with another process: for steps of
  /// milliseconds, one after the other. A worker that waits in the kernel's queue holds up all others at each
  /// barrier. Such a worker is left out, and tried again on its own while the others go on.
  void run_available(const Job& f);

 private:
  using Clock = Roster::Clock;
  struct Slot;

  void start(std::span<const int> members, const Job& f);
  void order(Slot& slot, int rank, Clock::time_point now);
  /// Lets the roster choose anew, and starts and ends trials.
  void look(Clock::time_point now);
  void work(Slot& slot);
  void account(Slot& slot);
  /// A trial: spins for a while to see whether this worker has a processor.
  void show_up(Slot& slot);

  const int size_;
  const Placement placement_;
  const WaitingTime waiting_time_;
  Barrier barrier_, done_;
  const Job* job_ = nullptr;
  int workers_ = 0;  ///< of the job
  std::atomic<bool> stopping_{false};
  Roster roster_;
  Clock::time_point next_look_;
  std::vector<int> everyone_;
  std::vector<std::unique_ptr<Slot>> slots_;  ///< one a worker
  std::vector<std::thread> threads_;
};

}  // namespace tw::base
