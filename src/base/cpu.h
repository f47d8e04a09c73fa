// The machine as this process may use it: processors, caches, memory, and the limits of its cgroup.
#pragma once

#include <cstdint>
#include <string>

namespace tw::base {

struct Machine {
  std::string cpu_name;                ///< "AMD EPYC", from /proc/cpuinfo
  int online_cpus = 1;                 ///< that the scheduler lets this process run on
  int physical_cores = 1;              ///< distinct cores among them; SMT siblings count once
  double cgroup_cpus = 0;              ///< least quota of its cgroups in processors; 0: none
  std::uint64_t l2_bytes = 0;          ///< of one core; 0: unknown
  std::uint64_t l3_bytes = 0;          ///< of one package; 0: unknown
  std::uint64_t memory_bytes = 0;      ///< in the machine
  std::uint64_t memory_limit = 0;      ///< least of its cgroups; 0: none
  std::uint64_t memory_available = 0;  ///< now, by /proc/meminfo and the cgroups, whichever is smallest
};

/// Reads /proc and /sys; whatever cannot be read keeps its default.
Machine detect_machine();

/// Lowers the machine's numbers to what the cgroup (v2) at `path` below `root` and those it lies in allow: a
/// limit of a slice or a pod holds for all that is in it.
void limit_by_cgroups(Machine& machine, const std::string& root, std::string path);

}  // namespace tw::base
