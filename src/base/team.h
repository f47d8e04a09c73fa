// Team: a fixed set of worker threads that run one function together, step after step.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace tw::base {

/// A reusable barrier for n threads. A waiter spins briefly (a step of a small model is microseconds) and
/// then sleeps in the kernel, so that a busy neighbour on the same core is let in instead of being spun
/// against.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  /// Returns once all threads have called it; what each wrote before is visible to all after.
  void wait();

 private:
  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
};

/// Owns size-1 threads; the caller of run() is worker 0. run() is for one caller at a time.
class Team {
 public:
  explicit Team(int size);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  Barrier& barrier() { return barrier_; }

  /// Runs f(worker) on all workers, worker in [0, size), and returns when all have returned.
  void run(const std::function<void(int worker)>& f);

 private:
  void work(int worker);

  const int size_;
  Barrier barrier_;
  Barrier done_;
  const std::function<void(int)>* job_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> ticket_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace tw::base
