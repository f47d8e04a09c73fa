// Logging by spdlog. Libraries log events that an operator wants; results go back by Result, never to the log
// alone.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

#include "base/json.h"

namespace tw::base {

enum class LogFormat { kText, kJson };

/// An event with named values. As text they are not shown (`text` says them); as JSON they are fields of the
/// line.
void log_event(spdlog::level::level_enum level, const std::string& text, const OrderedJson& fields);

/// Sets up the process's one logger, on standard error. Call once, from main.
/// level: trace, debug, info, warn, error or off.
void init_logging(const std::string& level, LogFormat format);

}  // namespace tw::base
