#include <algorithm>
#include <cstdio>
#include <future>

#include "base/affinity.h"
#include "base/json.h"
#include "cli/engine_flags.h"
#include "kernels/probe.h"

namespace tw::cli {
namespace {

struct Options {
  std::string model;
  EngineFlags engine;
  int prompt = 512, generate = 128, batch = 1, repeat = 5;
  bool json = false;
};

/// Tokens no two of which make the same prompt, so that the prefix cache stays out of the measurement.
std::vector<std::int32_t> random_prompt(int length, std::size_t vocabulary, std::uint64_t& state) {
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < length; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX generator
    tokens.push_back(static_cast<std::int32_t>((state >> 33) % vocabulary));
  }
  return tokens;
}

struct Run {
  double prefill_seconds = 0, decode_seconds = 0;
};

/// `batch` requests together: until the last has its first token, and from there until the last has finished.
base::Result<Run> one_run(infer::Engine& engine, const std::vector<std::vector<std::int32_t>>& prompts,
                          int generate) {
  std::vector<std::future<infer::Timings>> done;
  const infer::Clock::time_point begin = infer::Clock::now();
  for (const auto& prompt : prompts) {
    auto promise = std::make_shared<std::promise<infer::Timings>>();
    done.push_back(promise->get_future());
    infer::GenerateRequest request;
    request.prompt = prompt;
    request.max_tokens = generate + 1;
    request.ignore_eos = true;
    request.sampling.temperature = 0;
    auto ticket = engine.submit(std::move(request), [promise](const infer::Chunk& chunk) {
      if (chunk.finish) promise->set_value(chunk.timings);
    });
    if (!ticket.ok()) return ticket.error();
  }
  infer::Clock::time_point first = begin, last = begin;
  for (auto& future : done) {
    const infer::Timings timings = future.get();
    first = std::max(first, timings.first_token);
    last = std::max(last, timings.finished);
  }
  const auto seconds = [](auto duration) { return std::chrono::duration<double>(duration).count(); };
  return Run{seconds(first - begin), seconds(last - first)};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

base::Result<base::OrderedJson> measure(const Options& options) {
  TW_ASSIGN_OR_RETURN(const FoundModel found, find_model(options.model, true));
  TW_ASSIGN_OR_RETURN(StartOptions start, options.engine.options());
  start.engine.max_running = options.batch;
  if (start.engine.context == 0) start.engine.context = options.prompt + options.generate + 1;
  TW_ASSIGN_OR_RETURN(Started started, start_engine(found, start));
  const model::LoadedModel& model = *started.model;
  std::uint64_t state = 42;
  std::vector<double> prefill, decode;
  for (int run = 0; run <= options.repeat; ++run) {  // the first is the warm-up
    std::vector<std::vector<std::int32_t>> prompts;
    for (int i = 0; i < options.batch; ++i)
      prompts.push_back(random_prompt(options.prompt, model.card().tokenizer->size(), state));
    TW_ASSIGN_OR_RETURN(const Run times, one_run(*started.engine, prompts, options.generate));
    draw_progress("measuring", static_cast<double>(run + 1) / (options.repeat + 1));
    if (run == 0) continue;
    prefill.push_back(static_cast<double>(options.prompt) * options.batch / times.prefill_seconds);
    decode.push_back(static_cast<double>(options.generate) * options.batch / times.decode_seconds);
  }
  started.engine->stop();
  TW_ASSIGN_OR_RETURN(const base::Placement placement,
                      base::place_threads(start.engine.threads, start.engine.cpus));
  const auto threads = static_cast<int>(placement.size());
  const kernels::Ceilings ceilings = kernels::probe_ceilings(threads, model.weight_bytes_per_token());
  clear_progress();
  base::OrderedJson j;
  j["model"] = started.card->name;
  j["quantization"] = model.card().quantization;
  j["kernels"] = model.table().name;
  j["threads"] = threads;
  j["processors"] = base::placement_text(placement);
  j["batch"] = options.batch;
  j["prompt"] = options.prompt;
  j["generate"] = options.generate;
  j["prefill_tokens_per_second"] = median(prefill);
  j["decode_tokens_per_second"] = median(decode);
  j["bandwidth_bytes_per_second"] = ceilings.bytes_per_second;
  // Tiles multiply prompts in bf16; what they could do in int8 is another question.
  const bool tiles = model.table().name == "amx";
  const kernels::Ceilings::Peak& peak = ceilings.best(tiles ? "bf16" : "");
  j["matrix_flops_per_second"] = peak.flops_per_second;
  j["matrix_peak"] = peak.name;
  for (const auto& [name, flops] : ceilings.peaks) j["peaks"][name] = flops;
  j["decode_bandwidth_share"] = median(decode) / options.batch *
                                static_cast<double>(model.weight_bytes_per_token()) /
                                ceilings.bytes_per_second;
  j["prefill_peak_share"] =
      median(prefill) * 2 * static_cast<double>(model.layer_weights()) / peak.flops_per_second;
  return j;
}

int bench(const Options& options) {
  auto result = measure(options);
  if (!result.ok()) return fail(result.error());
  const base::OrderedJson& j = *result;
  if (options.json) {
    std::printf("%s\n", base::dump_json(j).c_str());
    return 0;
  }
  const auto number = [&](const char* key) { return j[key].get<double>(); };
  std::printf("%s, %s, %s kernels, %d threads, batch %d\n", j["model"].get<std::string>().c_str(),
              j["quantization"].get<std::string>().c_str(), j["kernels"].get<std::string>().c_str(),
              j["threads"].get<int>(), options.batch);
  std::printf("prefill %5d tokens  %9.1f tokens/s   %4.1f %% of the %s peak of %.0f GFLOP/s\n",
              options.prompt, number("prefill_tokens_per_second"), 100 * number("prefill_peak_share"),
              j["matrix_peak"].get<std::string>().c_str(), number("matrix_flops_per_second") / 1e9);
  std::printf("decode  %5d tokens  %9.1f tokens/s   %4.1f %% of the read bandwidth of %.1f GB/s\n",
              options.generate, number("decode_tokens_per_second"), 100 * number("decode_bandwidth_share"),
              number("bandwidth_bytes_per_second") / 1e9);
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      app.add_subcommand("bench", "Measure prefill and decode, and what share of this machine they reach.");
  verb->add_option("model", options->model, "file, folder or name in the store (default: the default model)");
  verb->add_option("--prompt,-p", options->prompt, "prompt tokens")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--generate,-n", options->generate, "tokens generated after the first")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--batch,-b", options->batch, "sequences together")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  verb->add_option("--repeat,-r", options->repeat, "counted runs after one warm-up; the median is shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_flag("--json", options->json, "one JSON document");
  add_engine_flags(*verb, options->engine);
  verb->footer(
      "Examples:\n  tokenworks bench\n  tokenworks bench model.gguf --threads 1 --json\n  tokenworks bench "
      "model.gguf --batch 16 --prompt 256 --generate 128");
  verb->callback([options, &exit_code] { exit_code = bench(*options); });
}

}  // namespace tw::cli
