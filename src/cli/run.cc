#include <unistd.h>

#include <iostream>
#include <iterator>
#include <random>
#include <string_view>
#include <utility>

#include "cli/converse.h"
#include "cli/engine_flags.h"
#include "cli/signal_pipe.h"

namespace tw::cli {
namespace {

struct Options {
  std::string model, prompt, system;
  EngineFlags engine;
  std::int64_t max_tokens = 0;
  float temperature = -1;
  std::int64_t seed = -1;
  bool no_history = false;
};

infer::SamplingParams sampling_of(const Options& options, const model::GenerationDefaults& defaults) {
  infer::SamplingParams sampling;
  sampling.temperature = options.temperature >= 0 ? options.temperature : defaults.temperature.value_or(0.7F);
  sampling.top_p = defaults.top_p.value_or(0.95F);
  sampling.top_k = defaults.top_k.value_or(0);
  sampling.min_p = defaults.min_p.value_or(0.0F);
  sampling.typical_p = defaults.typical_p.value_or(1.0F);
  sampling.repetition_penalty = defaults.repetition_penalty.value_or(1.0F);
  sampling.seed = options.seed >= 0 ? static_cast<std::uint64_t>(options.seed) : std::random_device{}();
  return sampling;
}

/// Whether a lone argument that names no model can only be meant as a question.
bool reads_as_prompt(std::string_view argument) {
  for (const std::string_view address : {"hf:", "http:", "https:", "pip:"}) {
    if (argument.starts_with(address)) return false;
  }
  return argument.find_first_of(" \t\r\n") != std::string_view::npos && !argument.ends_with(".gguf");
}

/// Settles which of the two positional arguments a lone one is; a name goes before a prompt.
base::Result<FoundModel> find_model_or_prompt(Options& options) {
  auto found = find_model(options.model, true);
  const bool alone = !options.model.empty() && options.prompt.empty();
  if (found.ok() || !alone || found.error().code != base::Code::kNotFound) return found;
  if (reads_as_prompt(options.model)) {
    options.prompt = std::exchange(options.model, {});
    return find_model({}, true);
  }
  base::Error error = found.error();
  error.message += "; a prompt goes behind the model: tokenworks run \"\" \"PROMPT\" asks the default one";
  return error;
}

int run(Options options) {
  auto found = find_model_or_prompt(options);
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
  if (prompt.empty() && !piped) return converse(chat, !options.no_history);
  SignalPipe signals({SIGINT});
  bool interrupted = false;
  auto status = chat.answer(prompt, [&] { return interrupted = interrupted || signals.take() != 0; });
  if (!status.ok()) return fail(status.error());
  return interrupted ? 130 : 0;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("run", "Chat in the terminal, or answer one prompt.");
  verb->add_option(
      "model", options->model,
      "file, folder or name in the store (default: the default model, also when this is a prompt)");
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
  verb->add_flag("--no-history", options->no_history, "keep no file of what is typed in a chat");
  add_engine_flags(*verb, options->engine);
  verb->footer(
      "Examples:\n  tokenworks run\n  tokenworks run \"What is the capital of France?\"\n"
      "  tokenworks run model.gguf \"Why is the sky blue?\" --temperature 0\n"
      "  git diff | tokenworks run smollm2-135m-instruct --system \"Describe this change.\"");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
