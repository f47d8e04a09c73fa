#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <random>

#include "cli/chat.h"
#include "cli/engine_flags.h"

namespace tw::cli {
namespace {

struct Options {
  std::string model, prompt, system;
  EngineFlags engine;
  std::int64_t max_tokens = 0;
  float temperature = -1;
  std::int64_t seed = -1;
};

// A signal handler can reach nothing else: the count of Ctrl-C since the last prompt.
volatile std::sig_atomic_t interrupts = 0;

void on_interrupt(int) {
  interrupts = interrupts + 1;
}

void catch_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);  // without SA_RESTART: Ctrl-C at the prompt ends the read
}

constexpr const char* kHelp =
    "/help            this list\n"
    "/system TEXT     set the system message (empty: none) and start anew\n"
    "/clear           forget the conversation\n"
    "/stats           tokens and speed of the last answer\n"
    "/exit            leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer; a second one leaves.\n";

infer::SamplingParams sampling_of(const Options& options, const model::GenerationDefaults& defaults) {
  infer::SamplingParams sampling;
  sampling.temperature = options.temperature >= 0 ? options.temperature : defaults.temperature.value_or(0.7F);
  sampling.top_p = defaults.top_p.value_or(0.95F);
  sampling.top_k = defaults.top_k.value_or(0);
  sampling.min_p = defaults.min_p.value_or(0.0F);
  sampling.repetition_penalty = defaults.repetition_penalty.value_or(1.0F);
  sampling.seed = options.seed >= 0 ? static_cast<std::uint64_t>(options.seed) : std::random_device{}();
  return sampling;
}

void print_stats(const AnswerStats& s) {
  const double decoded = static_cast<double>(s.generated_tokens > 0 ? s.generated_tokens - 1 : 0);
  std::fprintf(stderr, "prompt %lld tokens (%lld cached) in %.2f s; answer %lld tokens, %.1f tokens/s\n",
               static_cast<long long>(s.prompt_tokens), static_cast<long long>(s.cached_tokens),
               s.seconds_to_first, static_cast<long long>(s.generated_tokens),
               s.seconds > 0 ? decoded / s.seconds : 0.0);
}

/// False: leave.
bool command(const std::string& line, Chat& chat) {
  const std::string name = line.substr(0, line.find(' '));
  const std::string rest = line.size() > name.size() ? line.substr(name.size() + 1) : "";
  if (name == "/exit" || name == "/quit" || name == "/bye") return false;
  if (name == "/clear") {
    chat.clear();
    std::fprintf(stderr, "forgotten\n");
  } else if (name == "/system") {
    chat.set_system(rest);
    chat.clear();
    std::fprintf(stderr,
                 rest.empty() ? "no system message\n" : "system message set; the conversation starts anew\n");
  } else if (name == "/stats") {
    print_stats(chat.last());
  } else {
    std::fprintf(stderr, "%s%s", name == "/help" ? "" : "unknown command\n", kHelp);
  }
  return true;
}

/// The next line, or nothing at the end of input or on Ctrl-C.
std::optional<std::string> read_line() {
  std::fprintf(stderr, "\x1b[1m> \x1b[0m");
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

int converse(Chat& chat) {
  std::fprintf(stderr, "Type a message, or /help. Ctrl-D leaves.\n");
  for (;;) {
    interrupts = 0;
    const std::optional<std::string> line = read_line();
    if (!line) break;
    if (line->empty()) continue;
    if (line->front() == '/') {
      if (!command(*line, chat)) break;
      continue;
    }
    interrupts = 0;
    auto status = chat.answer(*line, [] { return interrupts > 0; });
    if (!status.ok()) fail(status.error());
    if (interrupts > 1) break;
  }
  std::fprintf(stderr, "\n");
  return 0;
}

int run(const Options& options) {
  auto found = find_model(options.model, true);
  if (!found.ok()) return fail(found.error());
  auto start = options.engine.options();
  if (!start.ok()) return fail(start.error());
  start->engine.max_running = 1;
  auto started = start_engine(*found, *start);
  if (!started.ok()) return fail(started.error());
  Chat chat(*started, sampling_of(options, started->card->defaults), options.max_tokens);
  chat.set_system(options.system);
  const bool piped = ::isatty(STDIN_FILENO) == 0;
  std::string prompt = options.prompt;
  if (prompt.empty() && piped) prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  catch_interrupts();
  if (prompt.empty() && !piped) return converse(chat);
  auto status = chat.answer(prompt, [] { return interrupts > 0; });
  if (!status.ok()) return fail(status.error());
  return interrupts > 0 ? 130 : 0;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("run", "Chat in the terminal, or answer one prompt.");
  verb->add_option("model", options->model, "file, folder or name in the store (default: the default model)");
  verb->add_option("prompt", options->prompt,
                   "answer this and leave (default: a chat, or standard input if it is a pipe)");
  verb->add_option("--system", options->system, "system message");
  verb->add_option("--max-tokens,-n", options->max_tokens,
                   "longest answer in tokens (default: what the context holds)")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--temperature,-t", options->temperature,
                   "0: always the likeliest token (default: the model's, else 0.7)")
      ->check(CLI::Range(0.0, 100.0));
  verb->add_option("--seed", options->seed, "same seed, same answer")->check(CLI::NonNegativeNumber);
  add_engine_flags(*verb, options->engine);
  verb->footer(
      "Examples:\n  tokenworks run\n  tokenworks run model.gguf \"Why is the sky blue?\" --temperature 0\n"
      "  git diff | tokenworks run smollm2-135m-instruct --system \"Describe this change.\"");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
