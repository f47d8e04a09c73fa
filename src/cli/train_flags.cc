#include "cli/train_flags.h"

#include <algorithm>
#include <filesystem>

#include "cli/engine_flags.h"
#include "spec/recipe_words.h"

namespace tw::cli {
namespace {

namespace fs = std::filesystem;
using base::Code;

std::string absolute(const std::string& path, const fs::path& from) {
  return path.empty()
             ? path
             : (fs::path(path).is_absolute() ? fs::path(path) : from / path).lexically_normal().string();
}

/// Where a recipe's paths begin.
void resolve(spec::TrainConfig& config, const fs::path& from) {
  for (spec::TrainStage& stage : config.stages) {
    for (spec::TrainData& data : stage.data) data.path = absolute(data.path, from);
    if (stage.starts_from_path()) stage.start = absolute(stage.start, from);
    stage.teacher.path = absolute(stage.teacher.path, from);
  }
  config.tokenizer.path = absolute(config.tokenizer.path, from);
}

}  // namespace

void TrainFlags::add(CLI::App& verb) {
  verb.add_option("recipe", recipe_, "a recipe: a JSON file with the whole run (docs/training.md)");
  verb.add_option("--data", data_, "folder or file of text to learn from; may be repeated")
      ->allow_extra_args(false);
  verb.add_option("--chat", chat_, "folder or file of conversations (.jsonl) to learn from; may be repeated")
      ->allow_extra_args(false);
  verb.add_option("--pairs", pairs_,
                  "folder or file of preferences (.jsonl) to learn by DPO; may be repeated")
      ->allow_extra_args(false);
  verb.add_option("--resume", resume_, "go on with the run in this folder, by the recipe it began with");
  verb.add_option("--plan", plan_,
                  "run as a plan for this machine says: the JSON of `plan estimate` or `plan search`, or a "
                  "plan's file; flags win")
      ->type_name("FILE");
  given_.stages.resize(1);
  const std::vector<spec::TrainField> fields = spec::train_fields(given_, 0);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    std::visit([&](auto* value) { FlagMaker{&verb}(fields[i].flag.c_str(), *value, fields[i].help); },
               fields[i].value);
    options_.emplace_back(verb.get_option("--" + fields[i].flag), i);
  }
}

base::Status TrainFlags::apply(spec::TrainConfig& config) const {
  spec::TrainConfig given = given_;
  const std::vector<spec::TrainField> from = spec::train_fields(given, 0);
  const auto is_length = [&](const auto& option) {
    const std::string& flag = from[option.second].flag;
    return option.first->count() > 0 && (flag == "steps" || flag == "tokens" || flag == "minutes");
  };
  if (std::ranges::any_of(options_, is_length)) {
    for (spec::TrainStage& s : config.stages) s.steps = s.tokens = 0, s.minutes = 0;
  }
  for (const auto& [option, i] : options_) {
    if (option->count() == 0) continue;
    TW_RETURN_IF_ERROR(spec::check_field(from[i]));
    const std::string& flag = from[i].flag;
    constexpr std::string_view kModel = "model.";
    if (from[i].key.starts_with(kModel)) config.model.given.push_back(from[i].key.substr(kModel.size()));
    // Stages after the first begin where the one before ended.
    const std::size_t stages = flag == "start" ? 1 : config.stages.size();
    for (std::size_t stage = 0; stage < stages; ++stage) {
      const std::vector<spec::TrainField> to = spec::train_fields(config, stage);
      std::visit([&](auto* value) { *value = *std::get<decltype(value)>(from[i].value); }, to[i].value);
    }
  }
  return base::Ok{};
}

bool TrainFlags::given(std::string_view flag) const {
  spec::TrainConfig any = given_;
  const std::vector<spec::TrainField> fields = spec::train_fields(any, 0);
  return std::any_of(options_.begin(), options_.end(), [&](const auto& option) {
    return fields[option.second].flag == flag && option.first->count() > 0;
  });
}

base::Error TrainFlags::named(base::Error error) const {
  if (error.code != Code::kInvalidArgument && error.code != Code::kUnsupported &&
      error.code != Code::kResourceExhausted)
    return error;  // files have names of their own
  spec::TrainConfig config;
  config.stages.resize(1);
  const std::vector<spec::TrainField> fields = spec::train_fields(config, 0);
  spec::GivenFlags given{.alone = recipe_.empty() && resume_.empty(), .typed = {}, .data = {}};
  for (const auto& [option, i] : options_) {
    if (option->count() > 0) given.typed.insert(fields[i].flag);
  }
  const std::pair<const char*, bool> kinds[] = {
      {"--data", !data_.empty()}, {"--chat", !chat_.empty()}, {"--pairs", !pairs_.empty()}};
  for (const auto& [flag, is_given] : kinds) {
    if (is_given) given.data += (given.data.empty() ? "" : " or ") + std::string(flag);
  }
  if (given.data.empty()) given.data = "--data";
  error.message = spec::with_flags(error.message, given);
  return error;
}

base::Result<spec::TrainConfig> TrainFlags::config(std::optional<TrainPlan>& plan) const {
  spec::TrainConfig config;
  std::error_code failed;
  const fs::path here = fs::current_path(failed);
  std::vector<spec::TrainData> sources;
  sources.reserve(data_.size() + chat_.size() + pairs_.size());
  for (const std::string& path : data_) sources.push_back({absolute(path, here), "text", 1});
  for (const std::string& path : chat_) sources.push_back({absolute(path, here), "chat", 1});
  for (const std::string& path : pairs_) sources.push_back({absolute(path, here), "preference", 1});
  if (!recipe_.empty()) {
    if (!sources.empty()) {
      return base::error(Code::kInvalidArgument,
                         "a recipe names its data itself: give --data, --chat and --pairs, or a recipe, but "
                         "not both");
    }
    TW_ASSIGN_OR_RETURN(config, spec::read_recipe(recipe_));
    resolve(config, (here / recipe_).parent_path());
  } else if (!sources.empty()) {
    config.stages.resize(1);
    config.stages[0].data = sources;
  }
  if (config.stages.empty()) TW_RETURN_IF_ERROR(config.validate());
  TW_RETURN_IF_ERROR(apply(config));
  if (!plan_.empty()) {
    TW_ASSIGN_OR_RETURN(plan, read_train_plan(plan_));
    TW_RETURN_IF_ERROR(plan->apply(config, [this](const char* flag) { return given(flag); }));
  }
  resolve(config, here);
  return config;
}

}  // namespace tw::cli
