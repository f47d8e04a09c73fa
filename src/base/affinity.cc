#include "base/affinity.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/cpu.h"

namespace tw::base {
namespace {

int number_in(const std::string& path, int otherwise) {
  std::ifstream file(path);
  int value = 0;
  return file >> value ? value : otherwise;
}

int node_of(const std::string& folder) {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("node", 0) == 0 && name.size() > 4 && name[4] >= '0' && name[4] <= '9')
      return std::stoi(name.substr(4));
  }
  return 0;
}

/// The first logical processor of each core.
std::vector<Cpu> one_a_core(const std::vector<Cpu>& cpus) {
  std::vector<Cpu> first;
  std::set<std::pair<int, int>> seen;
  for (const Cpu& cpu : cpus) {
    if (seen.emplace(cpu.package, cpu.core).second) first.push_back(cpu);
  }
  return first;
}

bool parse_number(const char*& at, const char* end, int& value) {
  const auto [next, failed] = std::from_chars(at, end, value);
  at = next;
  return failed == std::errc{} && value >= 0 && value < CPU_SETSIZE;
}

}  // namespace

std::vector<Cpu> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return {{}};
  std::vector<Cpu> cpus;
  for (int id = 0; id < CPU_SETSIZE; ++id) {
    if (!CPU_ISSET(id, &set)) continue;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(id);
    cpus.push_back({id, number_in(folder + "/topology/core_id", id),
                    number_in(folder + "/topology/physical_package_id", 0), node_of(folder)});
  }
  return cpus;
}

base::Result<std::vector<int>> parse_cpu_list(const std::string& text) {
  std::set<int> cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (bool more = true; more;) {
    int first = 0;
    bool good = parse_number(at, end, first);
    int last = first;
    if (good && at != end && *at == '-') good = parse_number(++at, end, last);
    if (!good || last < first || (at != end && *at != ',')) {
      return base::error(Code::kInvalidArgument,
                         "--cpus is \"{}\", but must be numbers and ranges such as 0-3,8", text);
    }
    for (int cpu = first; cpu <= last; ++cpu) cpus.insert(cpu);
    more = at != end;
    if (more) ++at;
  }
  return std::vector<int>(cpus.begin(), cpus.end());
}

std::string cpu_list_text(const std::vector<int>& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
    if (last > i) text += "-" + std::to_string(cpus[last]);
    i = last + 1;
  }
  return text;
}

Placement place_threads(const std::vector<Cpu>& allowed, int threads, double quota) {
  const std::vector<Cpu> cores = one_a_core(allowed);
  if (threads == 0) {
    threads = static_cast<int>(cores.size());
    if (quota > 0) threads = std::min(threads, static_cast<int>(std::ceil(quota)));
    threads = std::max(threads, 1);
  }
  const bool siblings = threads > static_cast<int>(cores.size());
  std::map<int, std::vector<int>> nodes;
  for (const Cpu& cpu : siblings ? allowed : cores) nodes[cpu.node].push_back(cpu.id);
  std::size_t total = 0;
  for (const auto& [node, cpus] : nodes) total += cpus.size();
  Placement placement;
  std::size_t before = 0;
  for (const auto& [node, cpus] : nodes) {
    // Workers up to this node's last one, in proportion to the processors so far.
    before += cpus.size();
    while (placement.size() * total < threads * before && static_cast<int>(placement.size()) < threads)
      placement.push_back(cpus);
  }
  return placement;
}

base::Result<Placement> place_threads(int threads, const std::vector<int>& cpus) {
  std::vector<Cpu> allowed = usable_cpus();
  if (!cpus.empty()) {
    std::vector<Cpu> wanted;
    for (const int id : cpus) {
      const auto it = std::find_if(allowed.begin(), allowed.end(), [&](const Cpu& c) { return c.id == id; });
      if (it == allowed.end()) {
        return base::error(Code::kInvalidArgument,
                           "--cpus names processor {}, which this process may not use", id);
      }
      wanted.push_back(*it);
    }
    allowed = std::move(wanted);
  }
  return place_threads(allowed, threads, detect_machine().cgroup_cpus);
}

std::string placement_text(const Placement& placement) {
  std::string text;
  for (std::size_t i = 0; i < placement.size(); ++i) {
    if (i > 0 && placement[i] == placement[i - 1]) continue;
    text += (text.empty() ? "" : " and ") + cpu_list_text(placement[i]);
  }
  return text;
}

ThreadPin::ThreadPin(const std::vector<int>& cpus) {
  if (cpus.empty() || ::sched_getaffinity(0, sizeof(before_), &before_) != 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  // A failure (the machine lost a processor) costs speed at most.
  pinned_ = ::sched_setaffinity(0, sizeof(set), &set) == 0;
}

ThreadPin::~ThreadPin() {
  if (pinned_) ::sched_setaffinity(0, sizeof(before_), &before_);
}

}  // namespace tw::base
