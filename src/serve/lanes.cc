#include "serve/lanes.h"

#include <pthread.h>

#include <utility>

namespace tw::serve {

Lanes::Lanes(std::size_t limit) : limit_(limit) {
  for (Lane& lane : lanes_) lane.thread = std::thread([&lane] { run(lane); });
}

bool Lanes::post(std::size_t body_bytes, std::function<void()> job) {
  Lane& lane = lanes_[body_bytes >= kLargeBody ? 1 : 0];
  const std::lock_guard lock(lane.mutex);
  if (lane.stopping || lane.jobs.size() >= limit_) return false;
  lane.jobs.push_back(std::move(job));
  lane.wake.notify_one();
  return true;
}

void Lanes::run(Lane& lane) {
  ::pthread_setname_np(::pthread_self(), "tw-prepare");
  std::unique_lock lock(lane.mutex);
  while (true) {
    lane.wake.wait(lock, [&] { return lane.stopping || !lane.jobs.empty(); });
    if (lane.stopping) return;
    std::function<void()> job = std::move(lane.jobs.front());
    lane.jobs.pop_front();
    lock.unlock();
    job();
    job = nullptr;  // what it holds goes before the next one, and without the lock
    lock.lock();
  }
}

void Lanes::stop() {
  for (Lane& lane : lanes_) {
    std::deque<std::function<void()>> dropped;
    {
      const std::lock_guard lock(lane.mutex);
      lane.stopping = true;
      dropped.swap(lane.jobs);
      lane.wake.notify_one();
    }
    if (lane.thread.joinable()) lane.thread.join();
  }
}

}  // namespace tw::serve
