// What the workers of a search find, and how they share the work.
#pragma once

#include <algorithm>
#include <atomic>
#include <ctime>
#include <map>
#include <tuple>

#include "plan/search.h"

namespace tw::plan {

/// A total order, so that results do not depend on who found what first.
inline bool before(const FoundPlan& a, const FoundPlan& b) {
  const auto order = [](const FoundPlan& f) {
    const spec::ParallelPlan& p = f.plan;
    return std::tuple(f.seconds, f.bytes, p.tensor, p.pipeline, p.context, p.expert, p.micro_batch,
                      p.interleave, p.zero_bubble, p.zero, p.shard, static_cast<int>(p.recompute),
                      static_cast<int>(p.offload));
  };
  return order(a) < order(b);
}

/// What one worker found. Its size does not grow with the space.
struct Found {
  std::vector<FoundPlan> best;        ///< a heap, slowest on top
  std::map<double, FoundPlan> front;  ///< by seconds; bytes fall
  std::optional<FoundPlan> fastest_unfit;
  double computed = 0, skipped = 0, fit = 0;
  base::Status status = base::Ok{};

  bool among_best(double seconds, std::size_t keep) const {
    return best.size() < keep || seconds <= best.front().seconds;
  }
  bool on_front(double seconds, double bytes) const {
    auto after = front.upper_bound(seconds);
    return after == front.begin() || std::prev(after)->second.bytes > bytes;
  }
  /// A plan whose time and memory are known.
  void consider(const spec::ParallelPlan& p, double seconds, double bytes, bool fits, std::size_t keep) {
    if (!fits) {
      if (!fastest_unfit || seconds < fastest_unfit->seconds) fastest_unfit = {p, seconds, bytes};
      return;
    }
    fit += 1;
    if (!among_best(seconds, keep) && !on_front(seconds, bytes)) return;
    take({p, seconds, bytes}, keep);
  }
  void take(const FoundPlan& f, std::size_t keep) {
    if (among_best(f.seconds, keep)) {
      best.push_back(f);
      std::push_heap(best.begin(), best.end(), before);
      if (best.size() > keep) std::pop_heap(best.begin(), best.end(), before), best.pop_back();
    }
    take_front(f);
  }
  void take_front(const FoundPlan& f) {
    if (const auto same = front.find(f.seconds); same != front.end()) {
      if (before(f, same->second)) same->second = f;
    } else {
      if (!on_front(f.seconds, f.bytes)) return;
      front[f.seconds] = f;
    }
    for (auto it = front.upper_bound(f.seconds); it != front.end() && it->second.bytes >= f.bytes;)
      it = front.erase(it);
  }
  void take_all(Found& other, std::size_t keep) {
    for (const FoundPlan& f : other.best) take(f, keep);
    for (const auto& [seconds, f] : other.front) take_front(f);
    const auto& unfit = other.fastest_unfit;
    if (unfit && (!fastest_unfit || before(*unfit, *fastest_unfit))) fastest_unfit = unfit;
    computed += other.computed, skipped += other.skipped, fit += other.fit;
    if (!other.status.ok()) status = std::move(other.status);
  }
};

inline double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Deals the divisions (each with its number of `plans`) to the workers (run(division), and what was
/// `found`), one for each member of the team.
template <typename Worker, typename Division>
base::Result<SearchResult> run_workers(std::vector<Worker>& workers, const std::vector<Division>& divisions,
                                       double space, const SearchOptions& options, base::Team& team) {
  std::vector<double> seconds(workers.size());
  std::atomic<std::size_t> next{0};
  std::atomic<double> done{0};
  team.run([&](int worker) {
    const double start = thread_seconds();
    for (std::size_t i = next++; i < divisions.size(); i = next++) {
      workers[worker].run(divisions[i]);
      done += divisions[i].plans;
      if (worker == 0 && options.progress) options.progress(done / space);
    }
    seconds[worker] = thread_seconds() - start;
  });
  Found all;
  for (Worker& worker : workers) all.take_all(worker.found, options.keep);
  TW_RETURN_IF_ERROR(all.status);
  std::sort(all.best.begin(), all.best.end(), before);
  SearchResult result;
  result.space = space;
  result.best = std::move(all.best);
  for (const auto& [at, f] : all.front) result.front.push_back(f);
  result.fastest_unfit = all.fastest_unfit;
  result.computed = all.computed, result.skipped = all.skipped, result.fit = all.fit;
  for (const double t : seconds) {
    result.cpu_seconds += t;
    result.busiest_seconds = std::max(result.busiest_seconds, t);
  }
  return result;
}

/// search() of a setting with two kinds of accelerator. REQUIRES: it is mixed.
base::Result<SearchResult> search_mixed(const Setting& setting, const SearchOptions& options,
                                        base::Team& team);

}  // namespace tw::plan
