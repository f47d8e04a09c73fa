#include "cli/startup.h"

#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <cstdio>

#include "base/affinity.h"
#include "base/log.h"
#include "spec/serve_config.h"

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

base::Result<Started> start_engine(const FoundModel& found, const StartOptions& options) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  model::LoadOptions load;
  load.isa = options.isa;
  load.threads = options.engine.threads;
  load.cpus = options.engine.cpus;
  load.progress = [&](double done) {
    if (Clock::now() - begin > std::chrono::milliseconds(300)) draw_progress("loading", done);
  };
  Started started;
  TW_ASSIGN_OR_RETURN(started.model, model::LoadedModel::load(found.path, load));
  clear_progress();
  started.card = card_of(*started.model, found);
  if (options.for_answers && options.engine.context > started.card->config.context) {
    spdlog::warn("--ctx {} is past the {} tokens this model was made for: answers will lose the thread there",
                 options.engine.context, started.card->config.context);
  }
  TW_ASSIGN_OR_RETURN(started.engine, infer::Engine::create(started.model, options.engine, options.on_step));
  return started;
}

base::Result<StartOptions> EngineFlags::options() const {
  using base::Code;
  if (threads < 0 || threads > 1024)
    return base::error(Code::kInvalidArgument, "--threads is {}, but must be 0 to 1024", threads);
  if (ctx < 0) return base::error(Code::kInvalidArgument, "--ctx is {}, but must be 0 or more", ctx);
  TW_RETURN_IF_ERROR(spec::check_kv_memory(kv_memory));
  if (kv_type != "f16" && kv_type != "f32") {
    return base::error(Code::kInvalidArgument, "--kv-type is \"{}\", but must be f16 or f32", kv_type);
  }
  if (speculate != "lookup" && speculate != "off") {
    return base::error(Code::kInvalidArgument, "--speculate is \"{}\", but must be lookup or off", speculate);
  }
  StartOptions start;
  start.engine.speculate = speculate == "lookup";
  start.isa = isa;
  start.engine.threads = threads;
  if (!cpus.empty()) {
    TW_ASSIGN_OR_RETURN(start.engine.cpus, base::parse_cpu_list(cpus));
  }
  start.engine.context = ctx;
  start.engine.kv_bytes = static_cast<std::int64_t>(kv_memory * (1 << 30));
  start.engine.kv_f32 = kv_type == "f32";
  return start;
}

}  // namespace tw::cli
