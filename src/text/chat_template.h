// Chat templates: the Jinja programs that turn a conversation into the text a model was trained on.
//
// Made for the templates that models are published with, as Python's transformers runs them: jinja2's
// immutable sandbox with trim_blocks and lstrip_blocks, break and continue, `generation` blocks, tojson,
// raise_exception and strftime_now. Not a web template engine: no files are included and nothing is escaped
// unless asked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "text/template_limits.h"

namespace tw::text {

namespace jinja {
struct Program;
}

struct RenderOptions {
  /// What strftime_now shows, in seconds since 1970, as UTC. Empty: the current local time.
  std::optional<std::int64_t> now;
};

/// A parsed template. Never changes, so threads may share it. Templates are untrusted: every loop, recursion
/// and allocation is bounded by the limits.
class ChatTemplate {
 public:
  /// Errors: kCorrupt for a template that is not valid, kUnsupported for what only other uses of Jinja need,
  /// kResourceExhausted past a limit. Error::where is "chat template line N".
  static base::Result<ChatTemplate> parse(const std::string& source, TemplateLimits limits = {});

  /// Renders with the variables of a JSON object: messages, tools, documents, add_generation_prompt,
  /// bos_token, ... Errors: kInvalidArgument when the template itself refuses the conversation by
  /// raise_exception, with its own words as the message; kCorrupt when it fails (a type error, an undefined
  /// value), kResourceExhausted past a limit. Error::where is "chat template line N".
  base::Result<std::string> render(const base::OrderedJson& context, const RenderOptions& options = {}) const;

  /// Whether the template reads a variable of this name, for example `tools`.
  bool mentions(std::string_view variable) const;

 private:
  ChatTemplate(std::shared_ptr<const jinja::Program> program, TemplateLimits limits)
      : program_(std::move(program)), limits_(limits) {}

  std::shared_ptr<const jinja::Program> program_;
  TemplateLimits limits_;
};

}  // namespace tw::text
