#include <cstdio>

#include "base/affinity.h"
#include "base/json.h"
#include "cli/bench_run.h"
#include "cli/bench_shares.h"
#include "cli/engine_flags.h"
#include "kernels/probe.h"

namespace tw::cli {
namespace {

struct Options : BenchLoad {
  std::string model;
  EngineFlags engine;
  bool ceilings = true, json = false;
};

/// This machine's ceilings and the shares of them; the machine must be idle while they are measured.
void add_ceilings(base::OrderedJson& j, const model::LoadedModel& model, const Speeds& speeds, int threads,
                  const Options& options) {
  const auto bytes = static_cast<double>(model.weight_bytes_per_token());
  const auto weights = static_cast<double>(model.layer_weights());
  const kernels::Ceilings ceilings = kernels::probe_ceilings(threads, model.weight_bytes_per_token());
  // What tiles multiply prompts in: bf16, or the faster int8 if that was asked for.
  const bool bf16 = model.table().name == "amx" && !model.table().int8_prompts;
  const kernels::Ceilings::Peak& peak = ceilings.best(bf16 ? "bf16" : "");
  j["bandwidth_bytes_per_second"] = ceilings.bytes_per_second;
  j["matrix_flops_per_second"] = peak.flops_per_second;
  j["matrix_peak"] = peak.name;
  for (const auto& [name, flops] : ceilings.peaks) j["peaks"][name] = flops;
  const CeilingShares shares{speeds.prefill * 2 * weights / peak.flops_per_second,
                             speeds.decode / options.batch * bytes / ceilings.bytes_per_second,
                             options.engine.speculate != "off"};
  j["decode_bandwidth_share"] = shares.decode;
  j["prefill_peak_share"] = shares.prefill;
  j["ceilings_disturbed"] = shares.disturbed();
  if (shares.disturbed()) j["warning"] = shares.warning();
}

base::Result<base::OrderedJson> measure(const Options& options) {
  TW_ASSIGN_OR_RETURN(const FoundModel found, find_model(options.model, true));
  TW_ASSIGN_OR_RETURN(StartOptions start, options.engine.options());
  start.engine.max_running = options.batch;
  start.for_answers = false;
  start.packed.write_after = std::chrono::hours(24);  // at the end: it would be measured
  if (start.engine.context == 0) start.engine.context = options.prompt + options.generate + 1;
  TW_ASSIGN_OR_RETURN(Started started, start_engine(found, start));
  const model::LoadedModel& model = *started.model;
  TW_ASSIGN_OR_RETURN(const Speeds speeds,
                      measure_speeds(*started.engine, model.card().tokenizer->size(), options,
                                     [](double done) { draw_progress("measuring", done); }));
  clear_progress();
  started.engine->stop();
  TW_ASSIGN_OR_RETURN(const base::Placement placement,
                      base::place_threads(start.engine.threads, start.engine.cpus));
  const auto threads = static_cast<int>(placement.size());
  base::OrderedJson j;
  j["model"] = started.card->name;
  j["quantization"] = model.card().quantization;
  j["kernels"] = model.table().name;
  j["threads"] = threads;
  j["processors"] = base::placement_text(placement);
  j["batch"] = options.batch;
  j["prompt"] = options.prompt;
  j["generate"] = options.generate;
  j["kv_type"] = options.engine.kv_type;
  j["prompt_type"] = options.engine.prompt_type;
  j["kv_bytes_per_token"] = started.engine->stats().cache.token_bytes;
  j["prefill_tokens_per_second"] = speeds.prefill;
  j["decode_tokens_per_second"] = speeds.decode;
  if (options.ceilings) add_ceilings(j, model, speeds, threads, options);
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
  std::printf("%s, %s, %s kernels, %d threads, batch %d, keys and values in %s (%lld bytes a token)%s\n",
              j["model"].get<std::string>().c_str(), j["quantization"].get<std::string>().c_str(),
              j["kernels"].get<std::string>().c_str(), j["threads"].get<int>(), options.batch,
              options.engine.kv_type.c_str(), j["kv_bytes_per_token"].get<long long>(),
              options.engine.prompt_type == "int8" ? ", prompts in int8" : "");
  std::string of_peak, of_bandwidth;
  if (options.ceilings) {
    of_peak = fmt::format("   {:4.1f} % of the {} peak of {:.0f} GFLOP/s", 100 * number("prefill_peak_share"),
                          j["matrix_peak"].get<std::string>(), number("matrix_flops_per_second") / 1e9);
    of_bandwidth =
        fmt::format("   {:4.1f} % of the read bandwidth of {:.1f} GB/s",
                    100 * number("decode_bandwidth_share"), number("bandwidth_bytes_per_second") / 1e9);
  }
  std::printf("prefill %5d tokens  %9.1f tokens/s%s\n", options.prompt, number("prefill_tokens_per_second"),
              of_peak.c_str());
  std::printf("decode  %5d tokens  %9.1f tokens/s%s\n", options.generate, number("decode_tokens_per_second"),
              of_bandwidth.c_str());
  if (j.contains("warning")) std::printf("%s\n", j["warning"].get<std::string>().c_str());
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  options->engine.speculate = "off";  // random prompts may make answers that repeat, and be easy to guess
  CLI::App* verb =
      app.add_subcommand("bench", "Measure prefill and decode, and what share of this machine they reach.");
  verb->add_option("model", options->model, "file, folder or name in the store (default: the default model)");
  verb->add_option("--prompt,-p", options->prompt, "prompt tokens")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--generate,-n", options->generate, "tokens generated after the first")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--batch,--parallel,-b", options->batch, "sequences together")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  verb->add_option("--repeat,-r", options->repeat, "counted runs after one warm-up; the median is shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_flag("--ceilings,!--no-ceilings", options->ceilings,
                 "measure this machine's ceilings too (default)");
  verb->add_flag("--json", options->json, "one JSON document");
  add_engine_flags(*verb, options->engine);
  verb->footer(
      "Examples:\n  tokenworks bench\n  tokenworks bench model.gguf --threads 1 --json\n  tokenworks bench "
      "model.gguf --batch 16 --prompt 256 --generate 128");
  verb->callback([options, &exit_code] { exit_code = bench(*options); });
}

}  // namespace tw::cli
