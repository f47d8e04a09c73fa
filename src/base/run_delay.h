// How long a thread has waited for a processor that another had.
#pragma once

#include <chrono>

namespace tw::base {

/// Time that the calling thread has been ready to run without running, in all, as /proc/thread-self/schedstat
/// tells it; always zero where the kernel does not tell. Takes about 2 microseconds.
std::chrono::nanoseconds run_delay();

}  // namespace tw::base
