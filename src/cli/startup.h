// What several verbs share: finding a model, loading it with a progress bar, and reporting failure.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/models.h"
#include "cli/terminal.h"
#include "infer/engine.h"
#include "model/loaded_model.h"
#include "spec/serve_config.h"

namespace tw::cli {

/// Prints "tokenworks: ..." on standard error and returns the exit status 1.
int fail(const base::Error& error);

/// What is behind a model argument: a path, a name in the store, or the default model when it is empty. With
/// `fetch` the default model is pulled if it is missing.
base::Result<FoundModel> find_model(const std::string& argument, bool fetch);

struct StartOptions {
  bool for_answers = true;  ///< warns of what would spoil them
  std::string isa;
  bool int8_prompts = false;  ///< model::LoadOptions
  model::PackedOptions packed;
  std::string draft;  ///< model argument; empty: none
  infer::EngineOptions engine;
  std::function<void(std::int64_t tokens)> on_step;  ///< see infer::Engine::create
};

/// With a progress bar when it takes long. Of the options those of the engine matter that say where it runs.
base::Result<std::shared_ptr<const model::LoadedModel>> load_model(const std::string& path,
                                                                   const StartOptions& options);

struct Started {
  std::shared_ptr<const model::LoadedModel> model;
  std::shared_ptr<model::ModelCard> card;  ///< the model's, with the store's name and defaults
  std::unique_ptr<infer::Engine> engine;
};

/// Loads the model (progress shown when it takes long) and starts an engine on it.
base::Result<Started> start_engine(const FoundModel& found, const StartOptions& options);

/// What a validated configuration asks of model and engine.
StartOptions start_options(const spec::ServeConfig& config);

/// The fields of ServeConfig that every verb takes which runs a model (add_engine_flags); the others keep
/// their defaults.
struct EngineFlags : spec::ServeConfig {
  base::Result<StartOptions> options() const;
};

/// The kernel set that a flag, or else the environment, forces; empty: the best one.
std::string wanted_isa(const std::string& flag);

}  // namespace tw::cli
