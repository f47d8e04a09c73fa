#include "cli/startup.h"

#include <sys/stat.h>

#include <chrono>
#include <cstdio>

#include "base/affinity.h"
#include "base/env.h"
#include "base/log.h"

namespace tw::cli {

int fail(const base::Error& error) {
  clear_progress();
  std::fprintf(stderr, "tokenworks: %s\n", error.text().c_str());
  return 1;
}

base::Result<FoundModel> find_model(const std::string& argument, bool fetch) {
  struct stat info{};
  if (!argument.empty() && ::stat(argument.c_str(), &info) == 0) return FoundModel{argument, {}, {}};
  return find_in_store(argument, fetch);
}

namespace {

/// The file's own word goes before the recommendation.
std::shared_ptr<model::ModelCard> card_of(const model::LoadedModel& model, const FoundModel& found) {
  auto card = std::make_shared<model::ModelCard>(model.card());
  if (!found.name.empty()) card->name = found.name;
  if (!card->defaults.temperature) card->defaults.temperature = found.defaults.temperature;
  if (!card->defaults.top_p) card->defaults.top_p = found.defaults.top_p;
  return card;
}

}  // namespace

base::Result<std::shared_ptr<const model::LoadedModel>> load_model(const std::string& path,
                                                                   const StartOptions& options) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  model::LoadOptions load;
  load.isa = options.isa;
  load.threads = options.engine.threads;
  load.cpus = options.engine.cpus;
  load.int8_prompts = options.int8_prompts;
  load.packed = options.packed;
  load.progress = [&](double done) {
    if (Clock::now() - begin > std::chrono::milliseconds(300)) draw_progress("loading", done);
  };
  auto model = model::LoadedModel::load(path, load);
  clear_progress();
  return model;
}

base::Result<Started> start_engine(const FoundModel& found, const StartOptions& options) {
  Started started;
  TW_ASSIGN_OR_RETURN(started.model, load_model(found.path, options));
  started.card = card_of(*started.model, found);
  if (options.for_answers && options.engine.context > started.card->config.context) {
    spdlog::warn("--ctx {} is past the {} tokens this model was made for: answers will lose the thread there",
                 options.engine.context, started.card->config.context);
  }
  infer::EngineOptions engine = options.engine;
  if (!options.draft.empty()) {
    TW_ASSIGN_OR_RETURN(const FoundModel draft, find_model(options.draft, false));
    TW_ASSIGN_OR_RETURN(engine.draft, load_model(draft.path, options));
  }
  TW_ASSIGN_OR_RETURN(started.engine, infer::Engine::create(started.model, engine, options.on_step));
  return started;
}

StartOptions start_options(const spec::ServeConfig& c) {
  StartOptions options;
  options.isa = wanted_isa(c.isa);
  options.int8_prompts = c.prompt_type == "int8";
  options.packed.use = c.packed_weights == "auto";
  options.draft = c.draft_model;
  options.engine = {.threads = c.threads,
                    .cpus = {},
                    .context = c.ctx,
                    .kv_bytes = static_cast<std::int64_t>(c.kv_memory * (1 << 30)),
                    .kv_type = spec::parse_kv_type(c.kv_type).value(),  // validated
                    .max_running = c.max_batch,
                    .max_waiting = c.max_queue,
                    .max_step_tokens = c.max_step_tokens,
                    .decode_stretch = c.decode_stretch,
                    .prefix_cache = c.prefix_cache,
                    .cache_generated = c.cache_generated,
                    .speculate = c.speculate == "lookup",
                    .draft = nullptr,
                    .draft_tokens = c.draft_tokens,
                    .step_threads = {}};
  if (!c.cpus.empty()) options.engine.cpus = base::parse_cpu_list(c.cpus).value();  // validated
  return options;
}

base::Result<StartOptions> EngineFlags::options() const {
  TW_RETURN_IF_ERROR(validate());
  return start_options(*this);
}

std::string wanted_isa(const std::string& flag) {
  return flag.empty() ? base::env::isa().value_or("") : flag;
}

}  // namespace tw::cli
