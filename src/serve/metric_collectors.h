// Metrics whose values are asked for at scrape time: the engine's own counts and the process's. Internal to
// metrics.cc.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "infer/engine.h"

namespace tw::serve {

/// Gauges and counters that mirror the engine's, under vLLM's names.
std::vector<prometheus::MetricFamily> engine_families(const infer::EngineStats& stats,
                                                      const std::string& model_name);

/// process_resident_memory_bytes and the others that every Prometheus client offers, from /proc/self.
std::vector<prometheus::MetricFamily> process_families();

}  // namespace tw::serve
