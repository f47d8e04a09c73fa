#include "train/run_sources.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/hash64.h"
#include "base/json.h"
#include "base/mmap.h"
#include "train/run_data.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using base::Json;
using base::Ok;
using base::Status;

constexpr const char* kNote = "/sources.json";
constexpr std::size_t kMostNoteBytes = std::size_t{1} << 30;

std::string hash_of(const base::MappedFile& file) {
  return fmt::format("{:016x}", base::hash64(file.bytes()));
}

base::Result<Json> note_of(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const base::MappedFile file, base::MappedFile::open(path));
  return Json{{"path", path},
              {"bytes", file.bytes().size()},
              {"modified_ns", file.info().modified_ns},
              {"xxh64", hash_of(file)}};
}

base::Result<Json> notes_of(const std::vector<std::string>& paths, RunObserver& observer) {
  Json notes = Json::array();
  for (const std::string& path : paths) {
    TW_ASSIGN_OR_RETURN(Json note, note_of(path));
    notes.push_back(std::move(note));
    observer.preparing("noting what the run reads",
                       static_cast<double>(notes.size()) / static_cast<double>(paths.size()));
  }
  return notes;
}

/// Whether the file is still what the note says.
base::Result<bool> same(const std::string& path, const Json& note) {
  TW_ASSIGN_OR_RETURN(const base::MappedFile file, base::MappedFile::open(path));
  if (note.value("bytes", Json()) != Json(file.bytes().size())) return false;
  if (note.value("modified_ns", Json()) == Json(file.info().modified_ns)) return true;
  return note.value("xxh64", Json()) == Json(hash_of(file));
}

/// What a file of `paths` is that the notes say otherwise; `fix`: what can be done besides beginning anew.
Status check(const std::vector<std::string>& paths, const Json& notes, const std::string& folder,
             const char* fix) {
  const auto changed = [&](const std::string& path, const char* how) {
    return Error{
        Code::kInvalidArgument,
        fmt::format("{} since the run in {} began: {}, or start anew with --fresh", how, folder, fix), path};
  };
  std::map<std::string, const Json*> by_path;
  for (const Json& note : notes) {
    const Json path = note.is_object() ? note.value("path", Json()) : Json();
    if (path.is_string()) by_path[path.get<std::string>()] = &note;
  }
  for (const std::string& path : paths) {
    const auto note = by_path.find(path);
    if (note == by_path.end()) return changed(path, "is new");
    TW_ASSIGN_OR_RETURN(const bool is_same, same(path, *note->second));
    if (!is_same) return changed(path, "has changed");
    by_path.erase(note);
  }
  if (!by_path.empty()) return changed(by_path.begin()->first, "is gone");
  return Ok{};
}

/// A file, or those of a folder that make it a model.
base::Result<std::vector<std::string>> files_of_model(const std::string& path) {
  std::error_code failed;
  if (!fs::is_directory(path, failed)) return std::vector{path};
  std::vector<std::string> files;
  for (fs::directory_iterator at(path, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string name = at->path().filename().string();
    if (name.ends_with(".safetensors") || name == "config.json" || name.starts_with("tokenizer"))
      if (at->is_regular_file(failed)) files.push_back(at->path().string());
  }
  if (failed) return Error{Code::kIo, "cannot list the folder: " + failed.message(), path};
  return files;
}

void sort(std::vector<std::string>& paths) {
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
}

}  // namespace

base::Result<RunSources> sources_of(const spec::TrainConfig& config, bool data) {
  RunSources sources;
  const auto add_model = [&](const std::string& path) -> Status {
    TW_ASSIGN_OR_RETURN(const std::vector<std::string> files, files_of_model(path));
    sources.models.insert(sources.models.end(), files.begin(), files.end());
    return Ok{};
  };
  for (const spec::TrainStage& stage : config.stages) {
    if (!stage.teacher.path.empty()) TW_RETURN_IF_ERROR(add_model(stage.teacher.path));
    if (!data) continue;
    TW_ASSIGN_OR_RETURN(const std::vector<SourceText> texts, open_sources(stage, config.out));
    for (const SourceText& text : texts) {
      for (const Corpus::File& file : text.corpus.files()) sources.data.push_back(file.path);
    }
  }
  if (config.adapter.rank > 0) TW_RETURN_IF_ERROR(add_model(config.stages[0].start));
  sort(sources.data);
  sort(sources.models);
  return sources;
}

Status note_sources(const RunSources& sources, const std::string& folder, RunObserver& observer) {
  Json note = {{"format", 1}};
  TW_ASSIGN_OR_RETURN(note["data"], notes_of(sources.data, observer));
  TW_ASSIGN_OR_RETURN(note["models"], notes_of(sources.models, observer));
  return base::write_file_atomically(folder + kNote, base::dump_json(note) + "\n");
}

Status check_sources(const RunSources& sources, const std::string& folder) {
  const std::string path = folder + kNote;
  const auto text = base::read_file(path, kMostNoteBytes);
  if (!text.ok() && text.error().code == Code::kNotFound) return Ok{};
  if (!text.ok()) return text.error();
  const auto note = base::parse_json(*text);
  if (!note.ok() || !note->is_object() || note->value("format", Json()) != Json(1))
    return Error{Code::kCorrupt, "is damaged: start the run anew with --fresh", path};
  TW_RETURN_IF_ERROR(
      check(sources.models, note->value("models", Json::array()), folder, "restore what was there"));
  if (sources.data.empty()) return Ok{};
  return check(sources.data, note->value("data", Json::array()), folder,
               "restore what was there, go on with the text of then by --kept-data");
}

}  // namespace tw::train
