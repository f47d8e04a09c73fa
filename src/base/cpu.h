// The machine as this process may use it: processors, caches, memory, and the limits of its cgroup.
#pragma once

#include <cstdint>
#include <string>

namespace tw::base {

struct Machine {
  std::string cpu_name;                ///< "AMD EPYC", from /proc/cpuinfo
  int online_cpus = 1;                 ///< that the scheduler lets this process run on
  int physical_cores = 1;              ///< distinct cores among them; SMT siblings count once
  double cgroup_cpus = 0;              ///< quota of the cgroup in processors; 0: none
  std::uint64_t l2_bytes = 0;          ///< of one core; 0: unknown
  std::uint64_t l3_bytes = 0;          ///< of one package; 0: unknown
  std::uint64_t memory_bytes = 0;      ///< in the machine
  std::uint64_t memory_limit = 0;      ///< of the cgroup; 0: none
  std::uint64_t memory_available = 0;  ///< now, by /proc/meminfo and the cgroup, whichever is smaller
};

/// Reads /proc and /sys; whatever cannot be read keeps its default.
Machine detect_machine();

/// Resident memory of this process and its peak, bytes (/proc/self/status).
std::uint64_t resident_bytes();
std::uint64_t peak_resident_bytes();

}  // namespace tw::base
