// Where threads run: processors by core and NUMA node, lists such as 0-3,8, and keeping a thread to some.
#pragma once

#include <sched.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace tw::base {

/// A logical processor. SMT siblings have the same core.
struct Cpu {
  int id = 0, core = 0, package = 0, node = 0;
};

/// Those that the scheduler lets this process run on, ascending by id, as /sys describes them.
std::vector<Cpu> usable_cpus();

/// "0-3,8" to {0, 1, 2, 3, 8}: ascending, each once; and back.
base::Result<std::vector<int>> parse_cpu_list(const std::string& text);
std::string cpu_list_text(const std::vector<int>& cpus);

/// For each worker the processors it may run on.
using Placement = std::vector<std::vector<int>>;

/// Chooses processors for workers. `threads` 0: one for each core among `allowed`, at most `quota` (of a
/// cgroup, in processors; 0: none). Workers are spread over NUMA nodes by their cores, in order, and each may
/// run on every core of its node: the kernel then moves it away from another process, which it could not if
/// each had one processor of its own. SMT siblings are used only when there are more workers than cores.
Placement place_threads(const std::vector<Cpu>& allowed, int threads, double quota);

/// The same for this machine and process; `cpus` (empty: all) as parse_cpu_list gives it. An error names a
/// processor that this process may not use.
base::Result<Placement> place_threads(int threads, const std::vector<int>& cpus);

/// "0-3" or, with several nodes, "0-3 and 8-11".
std::string placement_text(const Placement& placement);

/// Keeps the calling thread to some processors (none: leaves it alone) until its end, and then puts it back:
/// threads that are started later inherit where their maker may run.
class ThreadPin {
 public:
  explicit ThreadPin(const std::vector<int>& cpus);
  ~ThreadPin();
  ThreadPin(const ThreadPin&) = delete;
  ThreadPin& operator=(const ThreadPin&) = delete;

 private:
  bool pinned_ = false;
  cpu_set_t before_{};
};

}  // namespace tw::base
