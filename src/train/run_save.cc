#include "train/run_save.h"

#include <filesystem>

#include "io/atomic_file.h"
#include "model/adapter_write.h"
#include "model/save.h"
#include "train/run_checkpoint.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using base::Ok;
using base::Status;

/// One file at a time; config.json, which makes a folder a model, goes first and comes last.
Status move_model(const std::string& from, const std::string& to) {
  std::error_code failed;
  fs::remove(to + "/config.json", failed);
  std::vector<std::string> names;
  for (fs::directory_iterator at(from, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string name = at->path().filename().string();
    if (name != "config.json") names.push_back(name);
  }
  names.emplace_back("config.json");
  for (const std::string& name : names) {
    if (!failed) fs::rename(fs::path(from) / name, fs::path(to) / name, failed);
  }
  if (failed) return Error{Code::kIo, "cannot be moved to its place: " + failed.message(), from};
  fs::remove_all(from, failed);
  return io::sync_folder(to);
}

}  // namespace

Status save_model(const PreparedRun& run, const Trainer& trainer, const std::string& folder) {
  if (trainer.adapter() != nullptr) {
    return model::write_adapter(folder, *trainer.adapter(), trainer.transformer().config(),
                                [&](std::size_t i) { return trainer.params().master(i); });
  }
  model::ModelToSave model;
  model.config = trainer.transformer().config();
  if (model.config.name.empty()) model.config.name = fs::path(folder).filename().string();
  model.tensors = weights_of(trainer);
  model.tokenizer = run.tokenizer.spec;
  model.tokenizer_files = {run.tokenizer.json, run.tokenizer.config_json};
  model.chat_template = run.tokenizer.chat_template;
  const std::string made = folder + "/model.new";
  TW_RETURN_IF_ERROR(model::save_folder(made, model, run.type));
  return move_model(made, folder);
}

}  // namespace tw::train
