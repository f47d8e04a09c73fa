// Prefill and decode of an engine, as `bench` and `plan validate --this-machine` time them.
#pragma once

#include <cstddef>
#include <functional>

#include "infer/engine.h"

namespace tw::cli {

struct BenchLoad {
  int prompt = 512, generate = 128;  ///< tokens; generated are those after the first
  int batch = 1;                     ///< sequences together
  int repeat = 5;                    ///< counted runs after one warm-up
};

/// Tokens/s of all sequences together, medians over the runs.
struct Speeds {
  double prefill = 0, decode = 0;
};
/// Prompts are random and never the same twice. `progress` may be empty.
base::Result<Speeds> measure_speeds(infer::Engine& engine, std::size_t vocabulary, const BenchLoad& load,
                                    const std::function<void(double done)>& progress);

}  // namespace tw::cli
