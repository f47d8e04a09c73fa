// Declares EngineFlags on a verb; apart from startup.h because CLI11 is heavy to compile.
#pragma once

#include "cli/commands.h"
#include "cli/startup.h"

namespace tw::cli {

inline void add_engine_flags(CLI::App& verb, EngineFlags& flags) {
  verb.add_option("--threads", flags.threads,
                  "worker threads (default: what the machine and the cgroup allow)");
  verb.add_option("--cpus", flags.cpus,
                  "processors they keep to, such as 0-3,8 (default: all that this process may use)");
  verb.add_option("--isa", flags.isa,
                  "force a kernel set: ref, avx2, avx512, amx (default: the best this processor has)");
  verb.add_option("--ctx", flags.ctx,
                  "longest sequence in tokens (default: the model's, as far as memory allows)");
  verb.add_option("--kv-memory", flags.kv_memory,
                  "GiB for keys and values (default: a quarter of the free memory)");
  verb.add_option("--speculate", flags.speculate,
                  "lookup: guess tokens from the text so far, which changes the speed alone; off")
      ->capture_default_str();
  verb.add_option("--kv-type", flags.kv_type, "storage of keys and values: f16 or f32");
}

}  // namespace tw::cli
