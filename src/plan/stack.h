// What software makes of hardware: at most six numbers for each named stack.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace tw::plan {

/// The constants, in the order they are fitted.
enum class Constant {
  kCompute,          ///< products take this times what the measured curve says
  kMemory,           ///< share of the memory's bandwidth that row ops reach
  kNetwork,          ///< share of the NICs' bandwidth that collectives and sends between nodes reach
  kLayerFloor,       ///< seconds that launching a layer's forward takes at least
  kCollectiveFloor,  ///< the same for each collective
  kStep,             ///< seconds of a step that belong to no layer
};
inline constexpr int kConstants = 6;
using Constants = std::array<double, kConstants>;

struct Stack {
  std::string name;
  // What the software does, from its own documentation; these are no fitted numbers.
  bool fused_attention = true;  ///< scores never reach memory
  /// Speed of its fused attention against the measured kernels: FlashAttention 2 is twice as fast as the
  /// first (arXiv 2307.08691).
  double attention_speed = 1;
  bool overlaps_gradients = true;
  bool overlaps_tensor = false;  ///< tensor-parallel collectives run in pieces beside the products
};

/// The stack behind a row's `system`: versions of one software are one stack.
Stack stack_of(std::string_view system);

/// Where fits start and where their prior pulls: round numbers near the medians of the fitted stacks. An
/// unknown stack takes the medians themselves (fit_stack in plan/validate.h).
inline constexpr Constants kTypical = {1.05, 0.7, 0.6, 0.4e-3, 0.1e-3, 10e-3};

}  // namespace tw::plan
