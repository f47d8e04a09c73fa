// Tool calls in what models write: finding them in a stream, and grammars that force them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/grammar.h"
#include "text/tool_call_json.h"

namespace tw::text {

/// How a model family writes a call.
enum class ToolStyle {
  kNone,    ///< it has no calls
  kHermes,  ///< <tool_call>{"name": ..., "arguments": {...}}</tool_call>, any number, after any text (Hermes,
            ///< Qwen)
  kLlama3,  ///< the whole answer is {"name": ..., "parameters": {...}}, perhaps after <|python_tag|>
  kMistral,  ///< [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...], after any text
};

/// The style whose marks a chat template (Jinja source) contains.
ToolStyle detect_tool_style(std::string_view template_source);

struct ToolCall {
  std::string name;
  std::string arguments_json;  ///< the object as the model wrote it
};

/// What a piece of text adds to the answer.
struct ToolDelta {
  struct Call {
    std::size_t index = 0;  ///< counts the calls of the answer from 0
    bool started = false;   ///< the first piece of this call: `name` is set
    std::string name;
    std::string arguments;  ///< to be appended to what came before
  };
  std::string content;
  std::vector<Call> calls;
  bool empty() const { return content.empty() && calls.empty(); }
};

/// Splits a stream into content and calls. The sum of all deltas does not depend on how the stream is cut.
///
/// Text that turns out not to be a call comes out as content. The turning point is the first byte of the
/// arguments after a known name: from there on the call is reported as it comes, and if it then breaks off,
/// its arguments end early and the text that breaks it is content. Marks and the white space between calls
/// are dropped. Llama's style has no marks: there an object is a call only if its name is one of `names`
/// (empty: any), or else the JSON that somebody asked for would be taken for one. Not thread-safe; one per
/// answer. Copyable.
class ToolCallParser {
 public:
  explicit ToolCallParser(ToolStyle style, std::vector<std::string> names = {})
      : style_(style), names_(std::move(names)), state_(first_state(style)) {}

  ToolDelta push(std::string_view text);
  /// The end of the answer: what was held back comes out. The parser is then done.
  ToolDelta finish();
  /// How many calls were reported so far.
  std::size_t call_count() const { return next_index_; }

 private:
  enum class State : std::uint8_t {
    kPlain,      ///< content to the end
    kText,       ///< content that may hold a mark
    kStart,      ///< llama3: nothing but white space so far
    kTag,        ///< after the mark: white space before the JSON
    kCall,       ///< inside a call's object
    kAfterCall,  ///< hermes: before </tool_call>; mistral: before , or ]; llama3: before ; or the end
    kBetween,    ///< hermes: white space after </tool_call>
  };
  static State first_state(ToolStyle style);
  std::string_view open_mark() const;

  void run(ToolDelta& out, bool at_end);
  // Each returns whether it got on; false waits for more text.
  bool step(ToolDelta& out, bool at_end);
  bool step_text(ToolDelta& out, bool at_end);
  bool step_start(bool at_end);
  bool step_tag(ToolDelta& out, bool at_end);
  bool step_call(ToolDelta& out, bool at_end);
  bool step_after_call(bool at_end);
  bool step_between(bool at_end);
  bool begin_call(std::size_t brace);
  bool give_up(ToolDelta& out);
  bool call_done(ToolDelta& out);
  bool call_broken(ToolDelta& out);
  enum class Verdict : std::uint8_t { kWait, kCall, kNotACall };
  Verdict judge(bool object_ended, ToolDelta& out);
  void report_arguments(ToolDelta& out);
  std::size_t skip_space(std::size_t from) const;
  bool starts_with(std::size_t at, std::string_view text) const;
  bool may_become(std::size_t at, std::string_view text) const;

  bool may_be_called(const std::string& name) const;

  ToolStyle style_;
  std::vector<std::string> names_;
  State state_;
  std::string pending_;         ///< text not yet decided on; during a call, all of it from the mark on
  std::size_t mark_size_ = 0;   ///< bytes of pending_ that are content for sure if this is no call
  std::size_t json_begin_ = 0;  ///< where the call's { is in pending_
  std::size_t scanned_ = 0;     ///< bytes of pending_ that scanner_ has seen
  std::size_t sent_ = 0;        ///< arguments up to here were reported
  CallScanner scanner_;
  bool committed_ = false;  ///< the current call has been reported: there is no way back
  bool streams_ = false;    ///< its arguments are an object in place, passed on as they come
  std::size_t next_index_ = 0;
};

/// All calls and the content of a finished answer.
struct ParsedAnswer {
  std::string content;
  std::vector<ToolCall> calls;
};
ParsedAnswer parse_tool_calls(ToolStyle style, std::string_view answer);

/// A grammar of well-formed calls whose arguments meet the tool's schema: one or more calls of any tool if
/// `required` (exactly one in Llama's style), or exactly one call of the tool `forced_name`.
/// `tools` is OpenAI's list: [{"type": "function", "function": {"name", "parameters"}}, ...].
/// The marks are written as text: leave their tokens out of TokenTrie's `excluded`, so that models can use
/// them. Errors: kInvalidArgument (no tools, unknown name, tool_choice auto), and those of add_json_schema.
base::Result<std::shared_ptr<const Grammar>> tool_call_grammar(ToolStyle style,
                                                               const base::OrderedJson& tools, bool required,
                                                               const std::optional<std::string>& forced_name);

}  // namespace tw::text
