#include "base/team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tw::base {
namespace {

// About 20 microseconds on current processors: longer than the imbalance of a small op, far shorter than a
// time slice.
constexpr int kSpins = 500;

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

/// Returns when `word` no longer holds `old`.
void wait_for_change(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
    pause_briefly();
  }
  word.wait(old, std::memory_order_acquire);
}

}  // namespace

void Barrier::wait() {
  if (threads_ == 1) return;
  const std::uint32_t generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
  } else {
    wait_for_change(generation_, generation);
  }
}

Team::Team(int size) : size_(size), barrier_(size), done_(size) {
  for (int worker = 1; worker < size; ++worker) threads_.emplace_back([this, worker] { work(worker); });
}

Team::~Team() {
  stopping_.store(true, std::memory_order_release);
  ticket_.fetch_add(1, std::memory_order_acq_rel);
  ticket_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Team::run(const std::function<void(int)>& f) {
  job_ = &f;
  ticket_.fetch_add(1, std::memory_order_acq_rel);
  ticket_.notify_all();
  f(0);
  done_.wait();
}

void Team::work(int worker) {
  for (std::uint32_t seen = 0;;) {
    wait_for_change(ticket_, seen);
    if (stopping_.load(std::memory_order_acquire)) return;
    ++seen;
    (*job_)(worker);
    done_.wait();
  }
}

}  // namespace tw::base
