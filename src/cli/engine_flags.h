// The fields of spec::ServeConfig as flags; apart from startup.h because CLI11 is heavy to compile.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "cli/startup.h"
#include "spec/serve_config.h"

namespace tw::cli {

/// One field of the list in spec/serve_config.h becomes one flag. Its default is shown, unless the help says
/// it in words.
struct FlagMaker {
  CLI::App* verb;
  template <typename T>
  void operator()(const char* name, T& field, std::string help) const {
    const bool in_words = help.find("(default:") != std::string::npos;
    CLI::Option* option = verb->add_option("--" + std::string(name), field, std::move(help));
    if (!in_words) option->capture_default_str();
  }
  void operator()(const char* name, std::vector<std::string>& field, std::string help) const {
    // One value for each flag: the next word may be the model.
    verb->add_option("--" + std::string(name), field, std::move(help))->allow_extra_args(false);
  }
  void operator()(const char* name, bool& field, std::string help) const {
    verb->add_flag("--" + std::string(name) + ",!--no-" + std::string(name), field, std::move(help));
  }
};

/// Those that say how a model is run, for the verbs besides `serve`; those of answers too if it writes any.
inline void add_engine_flags(CLI::App& verb, EngineFlags& flags, bool answers = true) {
  static constexpr std::string_view kNames[] = {"threads",   "cpus",    "isa",         "ctx",
                                                "kv-memory", "kv-type", "prompt-type", "packed-weights"};
  static constexpr std::string_view kOfAnswers[] = {"speculate", "draft-model", "draft-tokens"};
  spec::ServeConfig::visit(flags, [&](const char* name, auto& field, const char* help) {
    if (std::ranges::count(kNames, std::string_view(name)) != 0 ||
        (answers && std::ranges::count(kOfAnswers, std::string_view(name)) != 0))
      FlagMaker{&verb}(name, field, help);
  });
}

}  // namespace tw::cli
