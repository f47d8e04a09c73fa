// Any text as a chat template, rendered on one conversation with low limits: it may fail, but not crash or
// run away.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tw::text::TemplateLimits limits;
  limits.max_output_bytes = 1 << 16;
  limits.max_memory_bytes = 4 << 20;
  limits.max_steps = 20'000;
  limits.max_source_bytes = 1 << 14;
  static const auto context = tw::base::parse_ordered_json(R"({
      "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Zürich 👩‍👩‍👧 'q' \"qq\" <b>"},
                   {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function":
                    {"name": "f", "arguments": {"a": [1, 2.5, true, null]}}}]},
                   {"role": "tool", "content": [{"type": "text", "text": "42"}], "tool_call_id": "1"}],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties":
                {"a": {"type": "array", "items": {"type": "number"}}}}}}],
      "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 7, "s": "Hello, World", "l": [3, 1, 2]})");
  if (!context.ok()) std::abort();
  const std::string source(reinterpret_cast<const char*>(data), size);
  const auto parsed = tw::text::ChatTemplate::parse(source, limits);
  if (!parsed.ok()) return 0;
  const auto out = parsed->render(*context, {0});
  if (out.ok() && out->size() > limits.max_output_bytes) std::abort();
  if (!out.ok() && out.error().where.empty()) std::abort();
  return 0;
}
