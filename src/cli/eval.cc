#include <algorithm>
#include <cstdio>

#include "base/mmap.h"
#include "cli/engine_flags.h"
#include "eval/multiple_choice.h"
#include "eval/perplexity.h"
#include "eval/task_file.h"
#include "train/corpus.h"

namespace tw::cli {
namespace {

using base::OrderedJson;

struct Options {
  std::string model, shots_file, lora;
  std::vector<std::string> texts, tasks;
  EngineFlags engine;
  eval::PerplexityOptions perplexity;
  std::size_t shots = 0, limit = 0;
  bool json = false;
};

/// How long a window is if nobody says: what llama-perplexity takes.
constexpr std::int64_t kWindow = 512;

struct Task {
  std::string file;
  eval::TaskFile read;
  std::string preamble;
};

/// The first so many questions are for showing; those of the task itself are then no questions any more.
base::Result<std::string> take_shots(const Options& options, Task& task) {
  std::vector<eval::Question>& own = task.read.questions;
  eval::TaskFile other;
  if (!options.shots_file.empty()) {
    TW_ASSIGN_OR_RETURN(other, eval::read_task(options.shots_file));
  }
  const std::vector<eval::Question>& from = options.shots_file.empty() ? own : other.questions;
  if (from.size() < options.shots + (options.shots_file.empty() ? 1 : 0)) {
    return base::Error{
        base::Code::kInvalidArgument,
        fmt::format("has {} questions, too few to show {} of them", from.size(), options.shots),
        options.shots_file.empty() ? task.file : options.shots_file};
  }
  std::string text = eval::preamble_of(task.read.description, std::span(from).first(options.shots));
  if (options.shots_file.empty())
    own.erase(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(options.shots));
  return text;
}

/// All are read before a model is loaded, so that a broken line is told at once.
base::Result<std::vector<Task>> read_tasks(const Options& options) {
  std::vector<Task> tasks;
  for (const std::string& file : options.tasks) {
    TW_ASSIGN_OR_RETURN(eval::TaskFile read, eval::read_task(file));
    Task task{file, std::move(read), {}};
    TW_ASSIGN_OR_RETURN(task.preamble, take_shots(options, task));
    std::vector<eval::Question>& questions = task.read.questions;
    if (options.limit > 0) questions.resize(std::min(questions.size(), options.limit));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

void add_mean(OrderedJson& json, const char* name, const eval::Mean& mean) {
  json[name] = mean.value();
  json[std::string(name) + "_stderr"] = mean.error();
}

/// Read before a model is loaded, too.
base::Result<std::vector<std::string>> read_texts(const Options& options) {
  std::vector<std::string> texts;
  for (const std::string& file : options.texts) {
    TW_ASSIGN_OR_RETURN(std::string text, base::read_file(file, std::size_t{4} << 30));
    TW_RETURN_IF_ERROR(train::check_text(text, file));
    texts.push_back(std::move(text));
  }
  return texts;
}

base::Result<OrderedJson> measure_text(const eval::Model& model, const std::string& file,
                                       const std::string& text, const eval::PerplexityOptions& flags) {
  eval::PerplexityOptions options = flags;
  options.progress = [](double done, double perplexity) {
    draw_progress(fmt::format("perplexity {:.4f}", perplexity), done);
  };
  const auto result = eval::measure_perplexity(model, text, options);
  clear_progress();
  if (!result.ok()) return base::Error{result.error().code, result.error().message, file};
  OrderedJson json;
  json["file"] = file;
  json["perplexity"] = result->value();
  json["perplexity_stderr"] = result->error();
  add_mean(json, "loss", result->loss);
  json["bits_per_byte"] = result->bits_per_byte();
  json["tokens"] = result->text_tokens;
  json["scored_tokens"] = result->loss.count();
  json["windows"] = result->windows;
  json["window_tokens"] = options.window;
  json["stride"] = options.stride;
  json["second_half"] = options.second_half;
  return json;
}

OrderedJson task_json(const std::string& file, const std::string& format, const eval::ChoiceResult& result) {
  OrderedJson json;
  json["file"] = file;
  json["format"] = format;
  json["questions"] = result.accuracy.count();
  add_mean(json, "acc", result.accuracy);
  add_mean(json, "acc_norm", result.by_characters);
  add_mean(json, "acc_bytes", result.by_bytes);
  json["cut_choices"] = result.cut;
  return json;
}

base::Result<eval::ChoiceResult> measure_task(const eval::Model& model, const Task& task) {
  const auto progress = [&](double done) { draw_progress(task.file, done); };
  auto result = eval::answer_questions(model, task.read.questions, {task.preamble, progress});
  clear_progress();
  if (!result.ok()) return base::Error{result.error().code, result.error().message, task.file};
  return result;
}

/// Each file, and what several give together, each question counting once.
base::Result<OrderedJson> measure_tasks(const eval::Model& model, const std::vector<Task>& tasks) {
  OrderedJson list = OrderedJson::array();
  eval::ChoiceResult all;
  for (const Task& task : tasks) {
    TW_ASSIGN_OR_RETURN(const eval::ChoiceResult result, measure_task(model, task));
    list.push_back(task_json(task.file, task.read.format, result));
    all.accuracy.add(result.accuracy);
    all.by_characters.add(result.by_characters);
    all.by_bytes.add(result.by_bytes);
    all.cut += result.cut;
  }
  if (tasks.size() > 1) list.push_back(task_json("all files", "", all));
  return list;
}

/// What the flags leave open: windows are as long as usual, or as the context that was asked for.
base::Result<StartOptions> prepare(Options& options) {
  TW_ASSIGN_OR_RETURN(StartOptions start, options.engine.options());
  start.for_answers = false;
  options.perplexity.limit = options.limit;
  options.perplexity.window = start.engine.context;
  return start;
}

base::Result<Started> start(const FoundModel& found, Options& options, StartOptions start) {
  if (options.tasks.empty() && start.engine.context == 0) {
    TW_ASSIGN_OR_RETURN(const auto files, model::ModelFiles::open(found.path));
    TW_ASSIGN_OR_RETURN(const model::ModelCard card, model::read_card(*files, found.path));
    start.engine.context = std::min(kWindow, card.config.context);
  }
  TW_ASSIGN_OR_RETURN(Started started, start_engine(found, start));
  if (options.perplexity.window == 0)
    options.perplexity.window = std::min(kWindow, started.engine->context());
  return started;
}

base::Result<OrderedJson> measure(Options& options) {
  if (options.texts.empty() && options.tasks.empty())
    return base::error(base::Code::kInvalidArgument, "nothing to measure: name a file by --text or --tasks");
  TW_ASSIGN_OR_RETURN(const std::vector<Task> tasks, read_tasks(options));
  TW_ASSIGN_OR_RETURN(const std::vector<std::string> texts, read_texts(options));
  TW_ASSIGN_OR_RETURN(StartOptions start_options, prepare(options));
  TW_ASSIGN_OR_RETURN(const FoundModel found, find_model(options.model, true));
  TW_ASSIGN_OR_RETURN(const Started started, start(found, options, std::move(start_options)));
  eval::Model model{*started.engine, *started.card->tokenizer};
  if (!options.lora.empty()) {
    TW_ASSIGN_OR_RETURN(model.adapter, started.engine->load_adapter(options.lora));
  }
  OrderedJson json;
  json["model"] = started.card->name;
  json["quantization"] = started.card->quantization;
  json["kernels"] = started.model->table().name;
  json["kv_type"] = options.engine.kv_type;
  json["prompt_type"] = options.engine.prompt_type;
  json["shots"] = options.shots;
  json["text"] = OrderedJson::array();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    TW_ASSIGN_OR_RETURN(OrderedJson one, measure_text(model, options.texts[i], texts[i], options.perplexity));
    json["text"].push_back(std::move(one));
  }
  TW_ASSIGN_OR_RETURN(json["tasks"], measure_tasks(model, tasks));
  return json;
}

void print_text(const OrderedJson& text) {
  std::printf(
      "%s\n  perplexity %.4f +- %.4f   %.4f bits a byte   %lld of %lld tokens, in %lld windows of %lld\n",
      text["file"].get<std::string>().c_str(), text["perplexity"].get<double>(),
      text["perplexity_stderr"].get<double>(), text["bits_per_byte"].get<double>(),
      text["scored_tokens"].get<long long>(), text["tokens"].get<long long>(),
      text["windows"].get<long long>(), text["window_tokens"].get<long long>());
}

void print_task(const OrderedJson& task) {
  const auto percent = [&](const char* name) {
    return fmt::format("{} {:5.2f} % +- {:.2f}", name, 100 * task[name].get<double>(),
                       100 * task[std::string(name) + "_stderr"].get<double>());
  };
  const auto format = task["format"].get<std::string>();
  std::printf("%s%s%s: %lld questions\n  %s   %s   %s\n", task["file"].get<std::string>().c_str(),
              format.empty() ? "" : ", ", format.c_str(), task["questions"].get<long long>(),
              percent("acc").c_str(), percent("acc_norm").c_str(), percent("acc_bytes").c_str());
  if (const auto cut = task["cut_choices"].get<long long>(); cut > 0)
    std::printf("  %lld choices did not fit into the context: their beginning was left out\n", cut);
}

int evaluate(Options& options) {
  const auto result = measure(options);
  if (!result.ok()) return fail(result.error());
  if (options.json) {
    std::printf("%s\n", base::dump_json(*result).c_str());
    return 0;
  }
  for (const OrderedJson& text : (*result)["text"]) print_text(text);
  for (const OrderedJson& task : (*result)["tasks"]) print_task(task);
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      app.add_subcommand("eval", "Measure a model: perplexity of a text, multiple choice by likelihood.");
  verb->add_option("model", options->model, "file, folder or name in the store (default: the default model)");
  verb->add_option("--text", options->texts,
                   "text files whose perplexity is measured, in windows of --ctx tokens (512)");
  auto* tasks =
      verb->add_option("--tasks", options->tasks,
                       "files of questions: HellaSwag, ARC, PIQA, BoolQ, WinoGrande, MMLU, plain JSONL");
  auto* shots =
      verb->add_option("--shots", options->shots,
                       "solved questions shown before each: the file's first, which are then not asked")
          ->check(CLI::Range(0, 1000))
          ->needs(tasks)
          ->capture_default_str();
  verb->add_option("--shots-file", options->shots_file, "the solved questions are the first of this file")
      ->needs(shots);
  auto* stride = verb->add_option("--stride", options->perplexity.stride,
                                  "tokens from one window of a text to the next; 0: no overlap")
                     ->check(CLI::Range(0, 1 << 30))
                     ->capture_default_str();
  verb->add_flag("--second-half", options->perplexity.second_half,
                 "score the second half of each whole window alone, as llama-perplexity does")
      ->excludes(stride);
  verb->add_option("--limit", options->limit, "the first so many windows, or questions of each file; 0: all")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  verb->add_option("--lora", options->lora, "a LoRA adapter's folder, in peft's format");
  verb->add_flag("--json", options->json, "one JSON document");
  add_engine_flags(*verb, options->engine, false);
  verb->footer(
      "Examples:\n  tokenworks eval model.gguf --text wiki.test.raw\n"
      "  tokenworks eval my-run --tasks hellaswag_val.jsonl ARC-Easy-Test.jsonl --json\n"
      "  tokenworks eval model.gguf --tasks virology_test.csv --shots 5 --shots-file virology_dev.csv");
  verb->callback([options, &exit_code] { exit_code = evaluate(*options); });
}

}  // namespace tw::cli
