// What an untrusted template may use.
#pragma once

#include <cstddef>

namespace tw::text {

struct TemplateLimits {
  std::size_t max_output_bytes =
      16 << 20;  ///< of the rendered text, and of all text being built for it at a time
  std::size_t max_memory_bytes = 256 << 20;  ///< of live values
  std::size_t max_steps = 5'000'000;         ///< one per evaluated node, item walked or 64 bytes of text made
  int max_depth = 100;                       ///< of nested macro calls, of blocks, brackets and of values
  std::size_t max_source_bytes = 1 << 20;
};

}  // namespace tw::text
