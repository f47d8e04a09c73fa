// Running another program without a shell.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace tw::hub {

struct ProcessResult {
  int exit_status = 0;  ///< 128 + the signal's number when a signal ended it
  std::string output;   ///< the last 16 KiB of standard output and error, mixed
};

/// Runs argv[0] (found by PATH) with those arguments, no input, and waits for it. `tick` runs about 5 times a
/// second. Fails with kNotFound when there is no such program, kUnavailable on time-out and kCancelled when
/// *cancel becomes true (in both cases the program and its children are ended).
base::Result<ProcessResult> run_process(const std::vector<std::string>& argv, std::chrono::seconds timeout,
                                        const std::atomic<bool>* cancel = nullptr,
                                        const std::function<void()>& tick = {});

}  // namespace tw::hub
