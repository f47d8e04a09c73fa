// tool_call_grammar: texts that are well-formed calls.
#include <utility>
#include <vector>

#include "text/grammar_builder.h"
#include "text/json_schema.h"
#include "text/tool_call.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;
using base::OrderedJson;
using base::Result;

constexpr std::size_t kMaxTools = 512;

struct Tool {
  std::string name;
  const OrderedJson* parameters;  ///< null: an object without properties
  std::string pointer;
};

Result<std::vector<Tool>> read_tools(const OrderedJson& tools) {
  if (!tools.is_array() || tools.empty())
    return error(Code::kInvalidArgument, "'tools' must be a list with a tool");
  if (tools.size() > kMaxTools)
    return error(Code::kResourceExhausted, "more than {} tools: use fewer", kMaxTools);
  std::vector<Tool> out;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const OrderedJson& entry = tools[i];
    const auto function = entry.is_object() ? entry.find("function") : entry.end();
    if (!entry.is_object() || function == entry.end() || !function->is_object() ||
        !function->contains("name") || !(*function)["name"].is_string()) {
      return base::Error{Code::kInvalidArgument, "must be a function with a name",
                         fmt::format("#/tools/{}", i)};
    }
    const auto parameters = function->find("parameters");
    const bool given = parameters != function->end() && !parameters->is_null();
    out.push_back({(*function)["name"].get<std::string>(), given ? &*parameters : nullptr,
                   fmt::format("#/tools/{}/function/parameters", i)});
  }
  return out;
}

class CallGrammar {
 public:
  explicit CallGrammar(ToolStyle style) : style_(style), text_(b_) {}

  base::Status add(const Tool& tool) {
    ExprId arguments = b_.bytes("{}");
    if (tool.parameters != nullptr) {
      TW_ASSIGN_OR_RETURN(arguments, add_json_schema(b_, text_, *tool.parameters, tool.pointer));
    }
    const ExprId space = b_.optional(b_.bytes(" "));
    const ExprId key = b_.bytes(style_ == ToolStyle::kLlama3 ? "\"parameters\":" : "\"arguments\":");
    calls_.push_back(b_.seq({b_.bytes("{\"name\":"), space, text_.quoted(tool.name), b_.bytes(","), space,
                             key, space, arguments, b_.bytes("}")}));
    return base::Ok{};
  }

  Result<GrammarPtr> build(bool many) {
    const RuleId call_rule = b_.add_rule();
    b_.define(call_rule, b_.alt(std::move(calls_)));
    const RuleId root = b_.add_rule();
    b_.define(root, around(b_.ref(call_rule), many));
    return b_.build(root);
  }

 private:
  ExprId around(ExprId call, bool many) {
    if (style_ == ToolStyle::kLlama3) return call;
    const std::int32_t most = many ? -1 : 0;
    if (style_ == ToolStyle::kMistral) {
      const ExprId more = b_.repeat(b_.seq({b_.bytes(","), b_.optional(b_.bytes(" ")), call}), 0, most);
      const ExprId open = b_.seq({b_.bytes("[TOOL_CALLS]"), b_.optional(b_.bytes(" ")), b_.bytes("[")});
      return b_.seq({open, call, more, b_.bytes("]")});
    }
    const ExprId line = b_.optional(b_.bytes("\n"));
    const ExprId one = b_.seq({b_.bytes("<tool_call>"), line, call, line, b_.bytes("</tool_call>")});
    return b_.seq({one, b_.repeat(b_.seq({line, one}), 0, most)});
  }

  ToolStyle style_;
  GrammarBuilder b_;
  JsonText text_;
  std::vector<ExprId> calls_;
};

}  // namespace

Result<GrammarPtr> tool_call_grammar(ToolStyle style, const OrderedJson& tools, bool required,
                                     const std::optional<std::string>& forced_name) {
  if (style == ToolStyle::kNone) {
    return error(Code::kUnsupported, "the model's chat template has no tool calls: leave tool_choice out");
  }
  if (!required && !forced_name) {
    return error(Code::kInvalidArgument, "tool_choice 'auto' and 'none' need no grammar");
  }
  TW_ASSIGN_OR_RETURN(const std::vector<Tool> list, read_tools(tools));
  CallGrammar grammar(style);
  bool found = false;
  for (const Tool& tool : list) {
    if (forced_name && tool.name != *forced_name) continue;
    found = true;
    TW_RETURN_IF_ERROR(grammar.add(tool));
  }
  if (!found)
    return error(Code::kInvalidArgument, "tool_choice names '{}', which is not in 'tools'", *forced_name);
  return grammar.build(!forced_name);
}

}  // namespace tw::text
