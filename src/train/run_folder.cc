#include "train/run_folder.h"

#include <filesystem>

#include "base/mmap.h"
#include "spec/train_recipe.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using base::Json;
using base::Ok;
using base::OrderedJson;
using base::Status;

constexpr const char *kRun = "/run.json", *kLock = "/run.lock";
/// Keys of the recipe that cannot change a weight, or only as another machine would.
constexpr const char* kFree[] = {"out", "threads", "cpus", "skip-limit", "checkpoints", "samples"};

base::Result<spec::TrainConfig> recipe_of(const std::string& folder, const char* which) {
  const std::string path = folder + kRun;
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path));
  auto json = base::parse_ordered_json(text);
  if (!json.ok() || !json->is_object() || !json->contains(which))
    return Error{Code::kCorrupt, "is damaged: start the run anew with --fresh", path};
  TW_ASSIGN_OR_RETURN(spec::TrainConfig config,
                      spec::parse_recipe(base::dump_json((*json)[which]), path, spec::RecipeSource::kRun));
  config.model.given.clear();  // all keys are written
  return config;
}

/// The first key, by its path, whose values differ; empty: none does.
std::string difference(const OrderedJson& a, const OrderedJson& b, const std::string& path) {
  if (a == b) return {};
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.items()) {
      const OrderedJson& other = b.contains(key) ? b[key] : OrderedJson();
      if (const std::string found = difference(value, other, path.empty() ? key : path + "." + key);
          !found.empty())
        return found;
    }
    for (const auto& [key, value] : b.items()) {
      if (!a.contains(key)) return difference(OrderedJson(), value, path.empty() ? key : path + "." + key);
    }
  }
  if (a.is_array() && b.is_array() && a.size() == b.size()) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (const std::string found = difference(a[i], b[i], fmt::format("{}[{}]", path, i)); !found.empty())
        return found;
    }
  }
  const bool word = path.find_first_of(".[") == std::string::npos;
  const auto shown = [](const OrderedJson& value) {
    return value.is_null() ? "not given" : base::dump_json(value).substr(0, 100);
  };
  return fmt::format("{} was {} and is {}", word ? '"' + path + '"' : path, shown(a), shown(b));
}

OrderedJson without_free_keys(const spec::TrainConfig& config) {
  OrderedJson json = spec::recipe_json(config);
  for (const char* key : kFree) json.erase(key);
  return json;
}

/// What a run keeps in its folder and deletes when it begins anew; run.json, which marks it as ours, goes
/// last.
constexpr const char* kOurs[] = {"/log.jsonl",   "/tensorboard",       "/tokenizer", "/checkpoints",
                                 "/reference",   "/reference.partial", "/model.new", "/model.new.partial",
                                 "/config.json", "/sources.json",      kRun};

/// Fails where the system cannot say, as for a name that is too long.
base::Result<bool> exists(const std::string& path) {
  std::error_code failed;
  const fs::file_status status = fs::symlink_status(path, failed);
  if (status.type() == fs::file_type::not_found) return false;
  if (failed) return Error{Code::kIo, "cannot be read: " + failed.message(), path};
  return true;
}

/// Whether `path` is `folder`, or lies in it, by whatever links.
bool inside(const std::string& path, const std::string& folder) {
  std::error_code failed;
  const fs::path whole = fs::weakly_canonical(fs::absolute(folder), failed);
  if (failed) return false;  // then nothing is there yet, and making it says why not
  const fs::path source = fs::weakly_canonical(fs::absolute(path), failed);
  if (failed) return false;
  const fs::path rest = source.lexically_relative(whole);
  return !rest.empty() && *rest.begin() != "..";
}

/// Whether run.json says that a run left what is there.
base::Result<bool> marked(const std::string& folder) {
  TW_ASSIGN_OR_RETURN(const bool there, exists(folder + kRun));
  if (!there) return false;
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(folder + kRun));
  return text.find("\"asked\"") != std::string::npos;
}

}  // namespace

base::Result<spec::TrainConfig> RunFolder::asked() const {
  TW_ASSIGN_OR_RETURN(const bool there, exists(path_ + kRun));
  if (!there) return Error{Code::kNotFound, "holds no training run (no run.json)", path_};
  return recipe_of(path_, "asked");
}

Status RunFolder::make() const {
  std::error_code failed;
  fs::create_directories(path_, failed);
  if (failed) return Error{Code::kIo, "cannot create the folder: " + failed.message(), path_};
  TW_ASSIGN_OR_RETURN(const bool ours, marked(path_));
  for (const char* name : kOurs) {
    if (ours) break;
    TW_ASSIGN_OR_RETURN(const bool there, exists(path_ + name));
    if (!there) continue;
    return Error{
        Code::kInvalidArgument,
        fmt::format("holds {}, which no run of tokenworks left there: choose another --out", name + 1),
        path_};
  }
  return Ok{};
}

/// Until this is gone, or the process is.
Status RunFolder::hold() {
  auto lock = io::FileLock::take(path_ + kLock);
  if (lock.ok()) {
    lock_.emplace(*std::move(lock));
    return Ok{};
  }
  if (lock.error().code != Code::kUnavailable) return lock.error();
  const std::int64_t holder = io::FileLock::holder(path_ + kLock);
  return Error{Code::kUnavailable,
               fmt::format("another run is at work there{}: wait until it ends, stop it{}, or choose another "
                           "--out",
                           holder > 0 ? fmt::format(" (process {})", holder) : "",
                           holder > 0 ? fmt::format(" with kill {}", holder) : ""),
               path_};
}

bool RunFolder::lies_in(const std::string& path) const {
  return inside(path_, path);
}

Status RunFolder::check_apart(const spec::TrainConfig& config) const {
  const auto check = [&](const char* what, const std::string& path) -> Status {
    if (path.empty() || !inside(path, path_)) return Ok{};
    return Error{Code::kInvalidArgument,
                 fmt::format("{} lies in the output folder, where the run would overwrite it: choose another "
                             "--out",
                             what),
                 path};
  };
  for (const spec::TrainStage& stage : config.stages) {
    if (stage.starts_from_path()) TW_RETURN_IF_ERROR(check("the model to start from", stage.start));
    TW_RETURN_IF_ERROR(check("the teacher", stage.teacher.path));
    for (const spec::TrainData& data : stage.data) TW_RETURN_IF_ERROR(check("data", data.path));
  }
  return check("the tokenizer", config.tokenizer.path);
}

Status RunFolder::clear() const {
  std::error_code failed;
  for (const char* name : kOurs) {
    fs::remove_all(path_ + name, failed);
    if (failed) return Error{Code::kIo, "cannot delete it: " + failed.message(), path_ + name};
  }
  return Ok{};
}

base::Result<bool> RunFolder::begun() const {
  TW_ASSIGN_OR_RETURN(const bool there, exists(path_ + kRun));
  if (!there) return false;
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path_ + kRun));
  auto json = base::parse_ordered_json(text);
  return !json.ok() || !json->is_object() || !json->contains("asked") || json->contains("filled");
}

base::Result<std::optional<spec::TrainConfig>> RunFolder::open(const spec::TrainConfig& wanted, bool anew) {
  TW_RETURN_IF_ERROR(check_apart(wanted));
  TW_RETURN_IF_ERROR(make());
  TW_RETURN_IF_ERROR(hold());
  TW_ASSIGN_OR_RETURN(const bool goes_on, begun());
  if (anew || !goes_on) {
    TW_RETURN_IF_ERROR(clear());
    // Marked before anything is prepared: what a stop leaves until then is ours.
    TW_RETURN_IF_ERROR(write(OrderedJson{{"format", 1}, {"asked", spec::recipe_json(wanted)}}));
    return std::optional<spec::TrainConfig>();
  }
  TW_ASSIGN_OR_RETURN(const spec::TrainConfig before, asked());
  const std::string differs = difference(without_free_keys(before), without_free_keys(wanted), {});
  if (!differs.empty()) {
    return Error{Code::kInvalidArgument,
                 "holds a run of another recipe: " + differs +
                     "; go on with that one by --resume, choose another --out, or start "
                     "anew with --fresh",
                 path_};
  }
  TW_ASSIGN_OR_RETURN(spec::TrainConfig filled, recipe_of(path_, "filled"));
  filled.out = wanted.out;
  filled.threads = wanted.threads;
  filled.cpus = wanted.cpus;
  filled.skip_limit = wanted.skip_limit;
  filled.checkpoints = wanted.checkpoints;
  filled.samples = wanted.samples;
  return std::optional(std::move(filled));
}

Status RunFolder::write(const OrderedJson& json) const {
  return base::write_file_atomically(path_ + kRun,
                                     json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

Status RunFolder::write(const spec::TrainConfig& asked, const spec::TrainConfig& filled) const {
  OrderedJson json = spec::recipe_json(filled);
  if (filled.model.family == "gpt2") json["model"].erase("rope-theta");  // a recipe that says it is refused
  return write(OrderedJson{{"format", 1}, {"asked", spec::recipe_json(asked)}, {"filled", std::move(json)}});
}

}  // namespace tw::train
