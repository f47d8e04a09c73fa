// Everything `tokenworks serve` can be told. ONE field list (visit) feeds the flags, --help and the docs
// table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype_enum.h"
#include "base/result.h"

namespace tw::spec {

/// The types that keys and values may be stored in, by the names of --kv-type.
inline constexpr const char* kKvTypeHelp = "storage of keys and values: f16, bf16, int8 or f32";
/// The error names the value and the types there are.
base::Result<base::DType> parse_kv_type(const std::string& name);
/// Empty if keys and values cannot be stored in it.
std::string kv_type_name(base::DType type);

inline constexpr int kMaxKvMemory = 1 << 20;  ///< GiB: past any machine, and its bytes fit 64 bits
/// Whether --kv-memory can be meant; the error names the flag, its value and its range.
base::Status check_kv_memory(double gib);

struct ServeConfig {
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string served_name;      ///< empty: the model's own name
  std::int64_t ctx = 0;         ///< tokens a request may hold; 0: the model's own, as far as memory allows
  double kv_memory = 0;         ///< GiB; 0: a share of the free memory
  std::string kv_type = "f16";  ///< see parse_kv_type
  std::string prompt_type = "auto";  ///< auto or int8
  int max_queue = 256;               ///< waiting requests before 429
  int max_batch = 64;                ///< sequences that run together
  int max_step_tokens = 512;         ///< tokens of one step; a prompt longer than this is cut into chunks
  double decode_stretch = 2;         ///< how many times longer prompts may make a step of running answers
  bool prefix_cache = true;
  bool cache_generated =
      false;  ///< let prefix hits take generated blocks too (see docs/architecture.md, Same bits)
  std::string speculate = "lookup";     ///< lookup or off
  std::string draft_model;              ///< file, folder or name in the store; empty: none
  int draft_tokens = 0;                 ///< 0: as many as pay
  std::vector<std::string> lora;        ///< NAME=PATH each
  bool lora_updates = false;            ///< clients may load and unload adapters
  std::string packed_weights = "auto";  ///< auto or off
  int threads = 0;                      ///< 0: what the machine and the cgroup allow
  std::string cpus;                     ///< as 0-3,8; empty: all that this process may use
  std::string isa;                      ///< force a kernel set
  std::string api_key_file;             ///< first line is the key; else the environment's TOKENWORKS_API_KEY
  std::string tls_cert, tls_key;        ///< PEM files; both or none
  std::string cors_origin;              ///< empty: no CORS
  std::vector<std::string> allow_host;  ///< more names that a loopback server without a key answers to
  int drain_seconds = 30;
  std::string log_format = "text";  ///< text or json
  std::string log_level = "info";

  /// Calls v(name, reference to the field, help) for each field, in the order people read them.
  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("host", c.host, "address to listen on; 0.0.0.0 makes it reachable from outside");
    v("port", c.port, "TCP port, 0 for any free one");
    v("served-name", c.served_name, "model name that clients use (default: the model's own)");
    v("ctx", c.ctx,
      "longest sequence in tokens, prompt and answer (default: the model's, as far as memory allows)");
    v("kv-memory", c.kv_memory,
      "GiB for keys and values (default: a quarter of the free memory, at most what ctx x max-batch needs)");
    v("kv-type", c.kv_type, kKvTypeHelp);
    v("prompt-type", c.prompt_type,
      "what prompts are multiplied in: auto, as precise as bf16 or the file; int8, faster, with weights and "
      "activations rounded to 8 bits");
    v("max-queue", c.max_queue, "requests that may wait; one more is answered 429");
    v("max-batch", c.max_batch, "sequences that run together");
    v("max-step-tokens", c.max_step_tokens,
      "tokens in one step; longer prompts are cut into chunks (at most 512)");
    v("decode-stretch", c.decode_stretch,
      "how many times longer other prompts may make the wait for a token of a running answer; 0: no limit");
    v("prefix-cache", c.prefix_cache, "reuse the keys and values of equal prompt beginnings");
    v("cache-generated", c.cache_generated,
      "let the prefix cache reuse generated tokens too; answers may then differ in the last bits");
    v("speculate", c.speculate,
      "lookup: guess tokens from the text so far, which changes the speed alone; off");
    v("draft-model", c.draft_model,
      "a small model of the same vocabulary that guesses tokens too, which changes the speed alone (default: "
      "none)");
    v("draft-tokens", c.draft_tokens, "tokens it guesses at a time, up to 15 (default: as many as pay)");
    v("lora", c.lora,
      "NAME=PATH: a LoRA adapter in peft's format, which requests choose by NAME as their model; may be "
      "repeated");
    v("lora-updates", c.lora_updates,
      "let whoever may call the server load and unload adapters (/v1/load_lora_adapter), from any folder "
      "that "
      "it can read");
    v("packed-weights", c.packed_weights,
      "auto: keep the weights as packed for this processor in a file beside the model, for the next start; "
      "off");
    v("threads", c.threads, "worker threads (default: what the machine and the cgroup allow)");
    v("cpus", c.cpus, "processors they keep to, such as 0-3,8 (default: all that this process may use)");
    v("isa", c.isa, "force a kernel set: ref, avx2, avx512, amx (default: the best this processor has)");
    v("api-key-file", c.api_key_file, "file whose first line every client must send as its Bearer key");
    v("tls-cert", c.tls_cert, "PEM certificate chain: serve https");
    v("tls-key", c.tls_key, "PEM private key for tls-cert");
    v("cors-origin", c.cors_origin, "origin that browsers may call from, or *");
    v("allow-host", c.allow_host,
      "name by which clients may call a server that listens on loopback only and has no key; may be "
      "repeated");
    v("drain-seconds", c.drain_seconds, "time that running requests get to finish after SIGTERM");
    v("log-format", c.log_format, "text or json");
    v("log-level", c.log_level, "trace, debug, info, warn, error or off");
  }

  /// The error names the flag, its value and its range.
  base::Status validate() const;
};

/// Of --lora NAME=PATH.
struct NamedPath {
  std::string name, path;
};
base::Result<NamedPath> parse_lora(const std::string& value);

}  // namespace tw::spec
