#include "text/chat_template.h"

#include <utility>

#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace tw::text {

using base::Code;
using base::Error;
using base::Result;

namespace {

Error located(Error error) {
  error.where = error.where.empty() ? "chat template" : "chat template " + error.where;
  return error;
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(const std::string& source, TemplateLimits limits) {
  if (source.size() > limits.max_source_bytes) {
    return located(base::error(Code::kResourceExhausted,
                               "the template has {} bytes, more than the limit of {}", source.size(),
                               limits.max_source_bytes));
  }
  Result<jinja::Program> program = jinja::parse_program(source, limits.max_depth);
  if (!program.ok()) return located(std::move(program).error());
  return ChatTemplate(std::make_shared<const jinja::Program>(std::move(program).value()), limits);
}

Result<std::string> ChatTemplate::render(const base::OrderedJson& context,
                                         const RenderOptions& options) const {
  if (!context.is_object()) {
    return located(
        base::error(Code::kCorrupt, "the variables must be a JSON object, not {}", context.type_name()));
  }
  jinja::Runtime runtime(limits_, options.now);
  Result<std::string> out = jinja::Interpreter(*program_, runtime, context).run();
  if (!out.ok()) return located(std::move(out).error());
  return out;
}

bool ChatTemplate::mentions(std::string_view variable) const {
  const auto at = program_->slots.find(variable);
  return at != program_->slots.end() && program_->read[static_cast<std::size_t>(at->second)];
}

}  // namespace tw::text
