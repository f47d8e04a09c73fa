#include "serve/metric_collectors.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tw::serve {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

ClientMetric sample(MetricType type, double value, std::vector<ClientMetric::Label> labels) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return metric;
}

MetricFamily family(MetricType type, std::string name, std::string help, double value,
                    std::vector<ClientMetric::Label> labels = {}) {
  MetricFamily made;
  made.name = std::move(name);
  made.help = std::move(help);
  made.type = type;
  made.metric.push_back(sample(type, value, std::move(labels)));
  return made;
}

/// Fields of /proc/self/stat from the third on: the name before them may hold spaces.
std::vector<std::string> stat_fields() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t name_end = text.rfind(')');
  std::istringstream rest(name_end == std::string::npos ? std::string() : text.substr(name_end + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

double number_at(const std::vector<std::string>& fields, std::size_t i) {
  return i < fields.size() ? std::strtod(fields[i].c_str(), nullptr) : 0;
}

double open_files() {
  std::error_code problem;
  double count = 0;
  for (auto it = std::filesystem::directory_iterator("/proc/self/fd", problem);
       !problem && it != std::filesystem::directory_iterator(); it.increment(problem)) {
    ++count;
  }
  return count;
}

/// Seconds since 1970 at which the machine started.
double boot_time() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("btime ", 0) == 0) return std::strtod(line.c_str() + 6, nullptr);
  }
  return 0;
}

/// As PyTorch, and so vLLM, calls what keys and values may be stored as.
const char* torch_name(base::DType type) {
  switch (type) {
    case base::DType::kF32:
      return "float32";
    case base::DType::kBF16:
      return "bfloat16";
    case base::DType::kI8:
      return "int8";
    default:
      return "float16";
  }
}

/// Names and spelling are those of vLLM's configuration; num_gpu_blocks are blocks on whatever device
/// computes.
MetricFamily cache_config(const infer::CacheConfig& cache) {
  return family(MetricType::Gauge, "vllm:cache_config_info", "Always 1: how keys and values are kept.", 1,
                {{"block_size", std::to_string(cache.block_tokens)},
                 {"cache_dtype", torch_name(cache.type)},
                 {"enable_prefix_caching", cache.prefix_cache ? "True" : "False"},
                 {"engine", "0"},
                 {"kv_cache_memory_bytes", std::to_string(cache.bytes)},
                 {"num_gpu_blocks", std::to_string(cache.blocks)}});
}

std::string with_commas(const std::set<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ",") + name;
  return list;
}

/// As vLLM's, by which gateways send a request to where its adapter is at work (the inference extension of
/// Kubernetes' gateway API): labels say which, the value is when that was, since of several series the newest
/// counts. Here there is one series at a time.
MetricFamily adapters(const infer::EngineStats& s) {
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return family(MetricType::Gauge, "vllm:lora_requests_info",
                "When these LoRA adapters were at work, in seconds since 1970.", now,
                {{"max_lora", std::to_string(s.most_running)},
                 {"running_lora_adapters", with_commas(s.running_adapters)},
                 {"waiting_lora_adapters", with_commas(s.waiting_adapters)}});
}

}  // namespace

std::vector<MetricFamily> engine_families(const infer::EngineStats& s, const std::string& model_name) {
  const std::vector<ClientMetric::Label> labels = {{"engine", "0"}, {"model_name", model_name}};
  const auto count = [](std::uint64_t n) { return static_cast<double>(n); };
  const auto gauge = [&](const char* name, const char* help, double value) {
    return family(MetricType::Gauge, name, help, value, labels);
  };
  const auto counter = [&](const char* name, const char* help, std::uint64_t value) {
    return family(MetricType::Counter, name, help, count(value), labels);
  };
  MetricFamily by_reason = gauge("vllm:num_requests_waiting_by_reason", "Sequences waiting, by what for.", 0);
  by_reason.metric.clear();
  for (const auto& [reason, value] :
       {std::pair("capacity", s.waiting), std::pair("deferred", std::int64_t{0})}) {
    auto with_reason = labels;
    with_reason.push_back({"reason", reason});
    by_reason.metric.push_back(sample(MetricType::Gauge, static_cast<double>(value), with_reason));
  }
  return {
      gauge("vllm:num_requests_running", "Sequences in the running batch.", static_cast<double>(s.running)),
      gauge("vllm:num_requests_waiting", "Sequences waiting for room.", static_cast<double>(s.waiting)),
      by_reason,
      gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.", s.kv_usage),
      cache_config(s.cache),
      adapters(s),
      gauge("tokenworks:kv_cache_bytes_per_token", "Bytes of one token's keys and values.",
            static_cast<double>(s.cache.token_bytes)),
      counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.",
              s.prefix_queries),
      counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", s.prefix_hits),
      counter("vllm:prompt_tokens_cached_total", "Prompt tokens that were not computed again.",
              s.prefix_hits),
      counter("vllm:num_preemptions_total", "Sequences put back to make room.", s.preemptions),
      counter("vllm:prompt_tokens_total", "Prompt tokens processed.", s.prompt_tokens),
      counter("vllm:generation_tokens_total", "Tokens generated.", s.generated_tokens),
      counter("vllm:spec_decode_num_drafts_total", "Steps in which tokens of a sequence were guessed.",
              s.guesses),
      counter("vllm:spec_decode_num_draft_tokens_total", "Tokens guessed.", s.guessed_tokens),
      counter("vllm:spec_decode_num_accepted_tokens_total", "Guessed tokens that came true.",
              s.accepted_tokens),
      counter("tokenworks:steps_total", "Steps of the engine.", s.steps),
  };
}

std::vector<MetricFamily> process_families() {
  const std::vector<std::string> fields = stat_fields();
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  // Numbers of proc(5), less the two fields before: utime 14, stime 15, starttime 22, vsize 23, rss 24.
  const double cpu = (number_at(fields, 11) + number_at(fields, 12)) / ticks;
  const double start = boot_time() + number_at(fields, 19) / ticks;
  return {
      family(MetricType::Counter, "process_cpu_seconds_total", "User and system time.", cpu),
      family(MetricType::Gauge, "process_start_time_seconds", "Start, in seconds since 1970.", start),
      family(MetricType::Gauge, "process_virtual_memory_bytes", "Virtual memory.", number_at(fields, 20)),
      family(MetricType::Gauge, "process_resident_memory_bytes", "Resident memory, mapped weights included.",
             number_at(fields, 21) * static_cast<double>(sysconf(_SC_PAGESIZE))),
      family(MetricType::Gauge, "process_open_fds", "Open file descriptors.", open_files()),
      family(MetricType::Gauge, "process_max_fds", "Most file descriptors allowed.",
             static_cast<double>(files.rlim_cur)),
  };
}

}  // namespace tw::serve
