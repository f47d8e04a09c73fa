#include "cli/converse.h"

#include <csignal>
#include <cstdio>

#include "cli/history_file.h"
#include "cli/line_editor.h"
#include "cli/message_text.h"
#include "cli/signal_pipe.h"

namespace tw::cli {
namespace {

using End = LineEditor::End;

void print_stats(const AnswerStats& s) {
  if (!s.finish) {
    std::fprintf(stderr, "no answer yet\n");
    return;
  }
  const double decoded = static_cast<double>(s.generated_tokens > 0 ? s.generated_tokens - 1 : 0);
  std::fprintf(stderr, "prompt %lld tokens (%lld cached) in %.2f s; answer %lld tokens, %.1f tokens/s\n",
               static_cast<long long>(s.prompt_tokens), static_cast<long long>(s.cached_tokens),
               s.seconds_to_first, static_cast<long long>(s.generated_tokens),
               s.seconds > 0 ? decoded / s.seconds : 0.0);
}

class Conversation {
 public:
  Conversation(Chat& chat, SignalPipe& signals, LineEditor& editor)
      : chat_(chat), signals_(signals), editor_(editor) {}

  void open_history();
  int run();

 private:
  /// False: leave.
  bool step();
  bool cancelled(bool empty);
  void remember(const std::string& typed);
  bool command(std::string_view name, std::string_view rest);
  bool answer(const std::string& message);

  Chat& chat_;
  SignalPipe& signals_;
  LineEditor& editor_;
  std::optional<HistoryFile> history_;
  std::string last_typed_;
  MessageText message_;
  bool after_interrupt_ = false;  ///< the last thing that happened was a Ctrl-C
  int terminated_by_ = 0;
};

struct Command {
  const char *name, *argument, *help;
};
constexpr Command kCommands[] = {
    {"/system", "TEXT", "set the system message (without TEXT: none) and start anew"},
    {"/clear", "", "forget the conversation"},
    {"/stats", "", "tokens and speed of the last answer"},
    {"/help", "", "this list"},
    {"/exit", "", "leave (also Ctrl-D, or Ctrl-C twice)"},
};

void print_help() {
  for (const Command& c : kCommands) {
    std::fprintf(stderr, "%-16s %s\n", (std::string(c.name) + ' ' + c.argument).c_str(), c.help);
  }
  std::fprintf(stderr,
               "Enter sends. A line that ends in \\ goes on in the next, and so does Alt-Enter;\n"
               "\"\"\" begins and ends a text of several lines; a pasted text stays one message.\n"
               "Up and Down find what was typed before, Ctrl-R searches it; Tab completes a\n"
               "/command; Ctrl-C clears the line, or stops an answer.\n");
}

void Conversation::open_history() {
  const std::string path = HistoryFile::default_path();
  if (path.empty()) return;
  std::vector<std::string> entries;
  auto file = HistoryFile::open(path, entries);
  for (const std::string& entry : entries) editor_.add_history(entry);
  if (!entries.empty()) last_typed_ = entries.back();
  if (file.ok()) {
    history_ = std::move(*file);
  } else {
    std::fprintf(stderr, "what you type is not kept for later runs: %s\n", file.error().text().c_str());
  }
}

void Conversation::remember(const std::string& typed) {
  if (typed == last_typed_) return;
  last_typed_ = typed;
  editor_.add_history(typed);
  if (!history_) return;
  if (auto status = history_->add(typed); !status.ok()) {
    std::fprintf(stderr, "what you type is no longer kept: %s\n", status.error().text().c_str());
    history_.reset();
  }
}

/// Ctrl-C at the prompt.
bool Conversation::cancelled(bool empty) {
  if (empty && after_interrupt_) return false;
  if (empty) std::fprintf(stderr, "Ctrl-C again leaves, and so does Ctrl-D.\n");
  after_interrupt_ = true;
  message_.clear();
  return true;
}

bool Conversation::command(std::string_view name, std::string_view rest) {
  if (name == "/exit" || name == "/quit" || name == "/bye") return false;
  if (name == "/clear") {
    chat_.clear();
    std::fprintf(stderr, "forgotten\n");
  } else if (name == "/system") {
    chat_.set_system(std::string(rest));
    chat_.clear();
    std::fprintf(stderr, rest.empty() ? "no system message; the conversation starts anew\n"
                                      : "system message set; the conversation starts anew\n");
  } else if (name == "/stats") {
    print_stats(chat_.last());
  } else if (name == "/help" || name == "/?") {
    print_help();
  } else {
    std::fprintf(stderr, "unknown command %s; /help lists them\n", std::string(name).c_str());
  }
  return true;
}

bool Conversation::answer(const std::string& message) {
  int interrupts = 0;
  const auto interrupted = [&] {
    while (const int signal = signals_.take()) {
      if (signal == SIGINT) ++interrupts;
      if (signal == SIGTERM || signal == SIGHUP) terminated_by_ = signal;
    }
    return interrupts > 0 || terminated_by_ != 0;
  };
  const auto status = chat_.answer(message, interrupted);
  after_interrupt_ = interrupts > 0;
  if (!status.ok()) {
    fail(status.error());
    if (chat_.turns() > 0) std::fprintf(stderr, "/clear starts anew\n");
  } else if (chat_.last().finish == infer::FinishReason::kLength) {
    const bool full = chat_.last().prompt_tokens + chat_.last().generated_tokens >= chat_.context();
    std::fprintf(stderr, "(cut off after %lld tokens: %s)\n",
                 static_cast<long long>(chat_.last().generated_tokens),
                 full ? "the context is full; /clear starts anew" : "--max-tokens");
  }
  return interrupts < 2 && terminated_by_ == 0;
}

bool Conversation::step() {
  LineEditor::Line line = editor_.read(message_.empty() ? "> " : "... ");
  if (line.end == End::kTerminated) terminated_by_ = SIGTERM;
  if (line.end == End::kCancelled) return cancelled(line.text.empty() && message_.empty());
  if (line.end != End::kLine) {
    std::fprintf(stderr, "\n");
    return false;
  }
  after_interrupt_ = false;
  if (!message_.add(line.text)) return true;
  const std::string message = message_.text();
  const std::string typed = message_.typed();
  message_.clear();
  if (message.find_first_not_of(" \t\n") == std::string::npos) return true;
  remember(typed);
  // Quotes make any text a message.
  const std::string_view name = command_name(typed);
  if (name.empty()) return answer(message);
  const std::size_t rest = message.find_first_not_of(" \n", name.size());
  return command(name, rest == std::string::npos ? "" : std::string_view(message).substr(rest));
}

int Conversation::run() {
  std::fprintf(stderr, "Type a message, or /help. Ctrl-D leaves.\n");
  while (step()) continue;
  return terminated_by_ == 0 ? 0 : 128 + terminated_by_;
}

}  // namespace

int converse(Chat& chat, bool keep_history) {
  SignalPipe signals({SIGINT, SIGWINCH, SIGCONT, SIGTERM, SIGHUP});
  std::vector<std::string> names;
  for (const Command& c : kCommands) names.push_back(std::string(c.name) + (*c.argument != '\0' ? " " : ""));
  auto editor = LineEditor::open(signals, std::move(names));
  if (!editor.ok()) return fail(editor.error());
  Conversation conversation(chat, signals, **editor);
  if (keep_history) conversation.open_history();
  return conversation.run();
}

}  // namespace tw::cli
