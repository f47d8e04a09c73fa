// What serving software makes of hardware: six numbers for each named stack, and what its documentation says.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "plan/curves.h"

namespace tw::plan {

/// The constants, in the order they are fitted.
enum class ServeConstant {
  kProduct,  ///< products of answers take this times what the measured curves say
  kPrompt,   ///< products and attention of steps with prompts do
  kMemory,   ///< share of the memory's bandwidth that the cache and row ops are read with
  kLaunch,   ///< seconds that launching a layer takes at least in a step with prompts, which no graph holds
  kCollective,  ///< seconds that a collective takes besides its bytes
  kStep,        ///< seconds of a step that belong to no layer
};
inline constexpr int kServeConstants = 6;
using ServeConstants = std::array<double, kServeConstants>;

/// Seconds of the host for each token that is given out, beside the accelerators: what bounds a step of
/// hundreds of answers, and alike (41 to 50 us) where it was fitted by stack.
inline constexpr double kHostSeconds = 45e-6;

/// Where fits start, and what an unknown stack takes: near the medians of the fitted stacks.
inline constexpr ServeConstants kTypicalServing = {0.95, 1.1, 0.75, 0.6e-3, 5e-6, 1e-3};

/// How prompts and answers share steps.
enum class StepPolicy {
  kMixed,         ///< answers first, then pieces of prompts up to the step's tokens
  kWholePrompts,  ///< the same, but prompts are not cut
  kPromptsFirst,  ///< while prompts wait and fit, steps hold nothing else
};

struct ServeStack {
  std::string name;
  StepPolicy policy = StepPolicy::kMixed;
  double step_tokens = 8192;  ///< most that a step computes
  /// Keys and values are in 8 bits where products are in 8 or 4: always, or where a Blackwell runs them.
  enum class NarrowCache { kNo, kBlackwell, kYes } narrow_cache = NarrowCache::kNo;

  /// Share of an answer's tokens that must fit the cache before its prompt runs.
  double reserved = 0.5;

  /// A step with prompts of at most so many tokens is launched as one graph, like those without.
  double graph_tokens = 0;

  double cache_bytes(Precision precision, const Accelerator& accelerator) const;
};

/// The stack behind a row's `system`: versions of one software are one stack.
ServeStack serve_stack_of(std::string_view system);

}  // namespace tw::plan
