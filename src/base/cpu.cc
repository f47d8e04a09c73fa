#include "base/cpu.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "base/affinity.h"

namespace tw::base {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The value after "key:" or "key " in a /proc file such as meminfo, in its own unit; 0 if absent.
std::uint64_t proc_value(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0 && line.size() > key.size() &&
        (line[key.size()] == ':' || line[key.size()] == ' ')) {
      return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10);
    }
  }
  return 0;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

/// "1024K", "32M" as sysfs writes cache sizes.
std::uint64_t parse_size(const std::string& text) {
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
  if (end != nullptr && *end == 'K') return value << 10;
  if (end != nullptr && *end == 'M') return value << 20;
  return value;
}

std::uint64_t cache_bytes(int level) {
  for (int index = 0; index < 8; ++index) {
    const std::string base = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    if (first_line(base + "/level") == std::to_string(level)) return parse_size(first_line(base + "/size"));
  }
  return 0;
}

void count_cores(Machine& m) {
  std::set<std::pair<int, int>> cores;
  const std::vector<Cpu> cpus = usable_cpus();
  for (const Cpu& cpu : cpus) cores.emplace(cpu.package, cpu.core);
  m.online_cpus = static_cast<int>(cpus.size());
  m.physical_cores = static_cast<int>(cores.size());
}

/// The path of this process's cgroup (v2), "/" inside a container.
std::string own_cgroup() {
  const std::string line = first_line("/proc/self/cgroup");
  return line.rfind("0::", 0) == 0 ? line.substr(3) : "/";
}

void limit_processors(Machine& m, const std::string& folder) {
  std::istringstream quota(first_line(folder + "/cpu.max"));
  std::string limit;
  double period = 0;
  if (!(quota >> limit >> period) || limit == "max" || !(period > 0)) return;
  const double cpus = std::strtod(limit.c_str(), nullptr) / period;
  if (m.cgroup_cpus == 0 || cpus < m.cgroup_cpus) m.cgroup_cpus = cpus;
}

void limit_memory(Machine& m, const std::string& folder) {
  const std::string memory = first_line(folder + "/memory.max");
  if (memory.empty() || memory == "max") return;
  const std::uint64_t limit = std::strtoull(memory.c_str(), nullptr, 10);
  if (m.memory_limit == 0 || limit < m.memory_limit) m.memory_limit = limit;
  const std::uint64_t used = std::strtoull(first_line(folder + "/memory.current").c_str(), nullptr, 10);
  // File pages count as used but give way: only what is neither is taken.
  const std::uint64_t file = proc_value(folder + "/memory.stat", "file");
  const std::uint64_t held = used > file ? used - file : 0;
  m.memory_available = std::min(m.memory_available, limit > held ? limit - held : 0);
}

}  // namespace

void limit_by_cgroups(Machine& m, const std::string& root, std::string path) {
  for (;;) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    limit_processors(m, root + path);
    limit_memory(m, root + path);
    if (path.empty()) return;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

Machine detect_machine() {
  Machine m;
  m.cpu_name = cpu_name();
  count_cores(m);
  m.l2_bytes = cache_bytes(2);
  m.l3_bytes = cache_bytes(3);
  m.memory_bytes = proc_value("/proc/meminfo", "MemTotal") << 10;
  m.memory_available = proc_value("/proc/meminfo", "MemAvailable") << 10;
  limit_by_cgroups(m, "/sys/fs/cgroup", own_cgroup());
  return m;
}

}  // namespace tw::base
