// What an instance of a model serves: a closed form, and an event simulation of the stack's step policy.
#pragma once

#include <algorithm>
#include <vector>

#include "plan/serve_step.h"

namespace tw::plan {

/// Requests of one kind, of which so many are always in flight, or which arrive at a rate.
struct ServeLoad {
  double input = 1024, output = 1024;  ///< tokens
  double concurrency = 1;              ///< in flight, of one group of ranks
  double shortest = 1;                 ///< lengths are even between this share of the stated ones and these
  double receive = 1;                  ///< steps of answers between looks at what has arrived
  double running = 0;                  ///< most that are computed at a time; 0: as many as fit
  double rate = 0;                     ///< requests a second; 0: each that ends is followed by another
  double reused = 0;                   ///< tokens of a prompt whose keys and values the cache has already
  double fresh = 0;                    ///< share of requests, the first ones, of whose prompts it has none
  double step_tokens = 0;  ///< most that a step computes, where a deployment says so; 0: the stack's

  /// Tokens of a prompt of so many that are computed: the last one always is.
  double computed(double prompt) const { return std::max(1.0, prompt - reused); }
};

/// Milliseconds between what a client reads and what it sends next, and between its first requests: an
/// assumption about benchmarks, which keeps requests that end together from starting in one step.
inline constexpr double kClientSeconds = 5e-3;

/// The closed form before constants are known. All of one group of ranks.
struct ServeBasis {
  ServeStep answers;    ///< a step without prompts
  ServeStep prompt;     ///< what one prompt adds to steps
  double batch = 1;     ///< sequences of a step; fewer than wanted where the cache is full
  double receive = 1;   ///< as of the load
  double share = 1;     ///< of the prompts run during an answer that hold it up
  double stages = 1;    ///< a prompt passes them one after the other
  double together = 1;  ///< prompts that share a step's launches
  double output = 1;
};

/// Tokens of the cache that fit beside weights, context and libraries (3.5 GB) in 0.9 of a rank's memory, as
/// vLLM, SGLang and TensorRT-LLM leave by default. Below 1: nothing fits.
double cache_tokens(const ServeCosts& costs, double memory_bytes);

/// Answers hold each other up by nothing; of the prompts that enter while one is written, `share`: all where
/// steps are mixed; half where prompts run first, for then all requests of a wave wait together and the last
/// to start waits for none. Lengths that vary break waves up.
ServeBasis serve_basis(ServeCosts& costs, const ServeStack& stack, ServeLoad load, double memory_bytes);

/// Seconds of the prompts' part alone.
double prompt_seconds(const ServeStep& prompt, const ServeConstants& constants);
/// Seconds per output token: step + share (batch - 1) / output x prompt, which takes at least what launches
/// make a step longer.
double output_token_seconds(const ServeBasis& basis, const ServeConstants& constants);

/// Seconds to the first token where nobody queues: half a step until the next one begins, and the step with
/// the prompt.
double first_token_seconds(const ServeBasis& basis, const ServeConstants& constants);

/// Means over requests, seconds.
struct Served {
  double first_token = 0, output_token = 0, request = 0;
  double first_token_99 = 0;     ///< the 99th percentile
  double tokens_per_second = 0;  ///< answers of one group of ranks
  double batch = 0;              ///< mean number of answers in a step that has some
};

/// Steps of the stack's policy, one after the other, until so many requests have ended. Between events (an
/// answer ends, a prompt enters) all steps are alike but for the growing cache, so that they are added up at
/// once.
Served simulate_serving(ServeCosts& costs, const ServeStack& stack, const ServeConstants& constants,
                        const ServeLoad& load, double memory_bytes, int requests);

}  // namespace tw::plan
