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

/// The folder of this process's cgroup (v2), "/sys/fs/cgroup" itself inside a container.
std::string cgroup_folder() {
  std::string line = first_line("/proc/self/cgroup");
  if (line.rfind("0::", 0) != 0) return "/sys/fs/cgroup";
  return "/sys/fs/cgroup" + line.substr(3);
}

void read_cgroup(Machine& m) {
  const std::string folder = cgroup_folder();
  std::istringstream quota(first_line(folder + "/cpu.max"));
  std::string limit;
  double period = 0;
  if (quota >> limit >> period && limit != "max" && period > 0)
    m.cgroup_cpus = std::strtod(limit.c_str(), nullptr) / period;
  const std::string memory = first_line(folder + "/memory.max");
  if (memory.empty() || memory == "max") return;
  m.memory_limit = std::strtoull(memory.c_str(), nullptr, 10);
  const std::uint64_t used = std::strtoull(first_line(folder + "/memory.current").c_str(), nullptr, 10);
  // File pages count as used but give way: only what is neither is taken.
  const std::uint64_t file = proc_value(folder + "/memory.stat", "file");
  const std::uint64_t held = used > file ? used - file : 0;
  m.memory_available = std::min(m.memory_available, m.memory_limit > held ? m.memory_limit - held : 0);
}

}  // namespace

Machine detect_machine() {
  Machine m;
  m.cpu_name = cpu_name();
  count_cores(m);
  m.l2_bytes = cache_bytes(2);
  m.l3_bytes = cache_bytes(3);
  m.memory_bytes = proc_value("/proc/meminfo", "MemTotal") << 10;
  m.memory_available = proc_value("/proc/meminfo", "MemAvailable") << 10;
  read_cgroup(m);
  return m;
}

std::uint64_t resident_bytes() {
  return proc_value("/proc/self/status", "VmRSS") << 10;
}
std::uint64_t peak_resident_bytes() {
  return proc_value("/proc/self/status", "VmHWM") << 10;
}

}  // namespace tw::base
