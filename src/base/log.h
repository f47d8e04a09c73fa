// Logging by spdlog. Libraries log events that an operator wants; results go back by Result, never to the log
// alone.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace tw::base {

enum class LogFormat { kText, kJson };

/// Sets up the process's one logger, on standard error. Call once, from main.
/// level: trace, debug, info, warn, error or off.
void init_logging(const std::string& level, LogFormat format);

}  // namespace tw::base
