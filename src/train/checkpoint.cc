#include "train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "base/hash64.h"
#include "base/mmap.h"
#include "io/atomic_folder.h"
#include "io/safetensors_write.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using base::Json;
using base::Ok;
using base::Status;

constexpr const char* kManifest = "/manifest.json";

std::string folder_of(const std::string& root, std::int64_t step) {
  return fmt::format("{}/step-{:08d}", root, step);
}

std::string hex(std::uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

base::Result<Json> file_entry(const std::string& folder, const std::string& name) {
  TW_ASSIGN_OR_RETURN(const base::MappedFile file, base::MappedFile::open(folder + "/" + name));
  return Json{{"name", name}, {"bytes", file.bytes().size()}, {"xxh64", hex(base::hash64(file.bytes()))}};
}

/// The manifest without its own checksum, checked.
base::Result<Json> read_manifest(const std::string& folder) {
  const std::string path = folder + kManifest;
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path));
  auto json = base::parse_json(text);
  const auto corrupt = [&] { return Error{Code::kCorrupt, "is damaged", path}; };
  if (!json.ok() || !json->is_object()) return corrupt();
  Json manifest = *std::move(json);
  const Json sum = manifest.value("xxh64", Json());
  manifest.erase("xxh64");
  if (sum != Json(hex(base::hash64(base::dump_json(manifest))))) return corrupt();
  if (manifest.value("format", Json()) != Json(1))
    return Error{Code::kUnsupported, "has a format that this program does not know", path};
  return manifest;
}

bool is_step(const std::string& name) {
  return name.starts_with("step-") && name.size() >= 13 &&
         name.find_first_not_of("0123456789", 5) == std::string::npos;
}

/// The folders step-NNNNNNNN, newest first; `half`: what a kill left of one that was written.
base::Result<std::vector<std::string>> step_folders(const std::string& root,
                                                    std::vector<std::string>* half = nullptr) {
  std::vector<std::string> folders;
  std::error_code failed, ignored;
  for (fs::directory_iterator at(root, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string name = at->path().filename().string(), stem = at->path().stem().string();
    if (is_step(name) && at->is_directory(ignored)) folders.push_back(at->path().string());
    if (half != nullptr && is_step(stem) && (name == stem + ".partial" || name == stem + ".old"))
      half->push_back(at->path().string());
  }
  if (failed && failed != std::errc::no_such_file_or_directory)
    return Error{Code::kIo, "cannot be read: " + failed.message(), root};
  std::sort(folders.begin(), folders.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a > b;
  });
  return folders;
}

}  // namespace

Status write_checkpoint(const std::string& root, const CheckpointData& data) {
  constexpr std::string_view kAny[] = {"*"};
  TW_ASSIGN_OR_RETURN(io::AtomicFolder whole, io::AtomicFolder::create(folder_of(root, data.step), kAny));
  const std::string& folder = whole.partial_path();
  Json files = Json::array();
  const auto add = [&](const std::string& name) -> Status {
    TW_ASSIGN_OR_RETURN(Json entry, file_entry(folder, name));
    files.push_back(std::move(entry));
    return Ok{};
  };
  for (const CheckpointShard& shard : data.shards) {
    const std::string name = shard.name + ".safetensors";
    TW_RETURN_IF_ERROR(io::write_safetensors(folder + "/" + name, {{"format", "pt"}}, shard.tensors));
    TW_RETURN_IF_ERROR(add(name));
  }
  TW_RETURN_IF_ERROR(base::write_file_atomically(folder + "/state.json", base::dump_json(data.state) + "\n"));
  TW_RETURN_IF_ERROR(add("state.json"));
  Json manifest = {{"format", 1}, {"step", data.step}, {"stage", data.stage}, {"files", files}};
  if (data.validation_loss && std::isfinite(*data.validation_loss))
    manifest["validation_loss"] = *data.validation_loss;
  manifest["xxh64"] = hex(base::hash64(base::dump_json(manifest)));
  TW_RETURN_IF_ERROR(base::write_file_atomically(folder + kManifest, base::dump_json(manifest) + "\n"));
  return whole.commit();
}

base::Result<Checkpoint> Checkpoint::open(const std::string& folder) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  TW_RETURN_IF_ERROR(checkpoint.read());
  return checkpoint;
}

Status Checkpoint::read() {
  TW_ASSIGN_OR_RETURN(const Json manifest, read_manifest(folder_));
  // The manifest is as it was written, so its fields are there.
  step_ = manifest.at("step").get<std::int64_t>();
  if (manifest.contains("validation_loss")) validation_loss_ = manifest.at("validation_loss").get<double>();
  for (const Json& wanted : manifest.at("files")) {
    const std::string name = wanted.at("name").get<std::string>(), path = folder_ + "/" + name;
    TW_ASSIGN_OR_RETURN(const Json entry, file_entry(folder_, name));
    if (entry != wanted) {
      return Error{Code::kCorrupt,
                   "does not match its checksum: the file is damaged, and the checkpoint cannot be used",
                   path};
    }
    if (name == "state.json") {
      TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path));
      TW_ASSIGN_OR_RETURN(state_, base::parse_json(text));
      continue;
    }
    TW_ASSIGN_OR_RETURN(io::SafetensorsFile file, io::SafetensorsFile::open(path));
    shards_.emplace_back(name, std::move(file));
  }
  return Ok{};
}

base::Result<const io::SafetensorsFile*> Checkpoint::shard(const std::string& name) const {
  for (const auto& [file, tensors] : shards_) {
    if (file == name + ".safetensors") return &tensors;
  }
  return Error{Code::kNotFound, "has no " + name + ".safetensors", folder_};
}

base::Result<Checkpoint> latest_checkpoint(const std::string& root, std::vector<std::string>& damaged) {
  TW_ASSIGN_OR_RETURN(const std::vector<std::string> folders, step_folders(root));
  for (const std::string& folder : folders) {
    std::error_code ignored;
    if (!fs::exists(folder + kManifest, ignored)) continue;  // being deleted
    auto checkpoint = Checkpoint::open(folder);
    if (checkpoint.ok()) return checkpoint;
    damaged.push_back(checkpoint.error().text());
  }
  if (!folders.empty()) return Error{Code::kCorrupt, "has checkpoints, but none that is whole", root};
  return Error{Code::kNotFound, "has no checkpoint in it", root};
}

Status prune_checkpoints(const std::string& root, int keep_last, int keep_best) {
  std::set<std::string> kept;
  std::multimap<double, std::string> by_loss;
  int newest = 0;
  Json stage;
  std::vector<std::string> half;
  TW_ASSIGN_OR_RETURN(const std::vector<std::string> folders, step_folders(root, &half));
  for (const std::string& folder : folders) {
    const auto manifest = read_manifest(folder);
    if (!manifest.ok()) continue;
    const Json of = manifest->value("stage", Json(0));
    if (newest == 0) stage = of;
    if (newest++ < keep_last) kept.insert(folder);
    if (of == stage && manifest->contains("validation_loss"))
      by_loss.emplace(manifest->at("validation_loss").get<double>(), folder);
  }
  for (const auto& [loss, folder] : by_loss) {
    if (keep_best-- > 0) kept.insert(folder);
  }
  half.insert(half.end(), folders.begin(), folders.end());
  for (const std::string& folder : half) {
    std::error_code failed;
    // Damaged ones stay for whoever wants to look; half-deleted ones have no manifest.
    const bool step = is_step(fs::path(folder).filename().string());
    if (kept.contains(folder) ||
        (step && fs::exists(folder + kManifest, failed) && !read_manifest(folder).ok()))
      continue;
    fs::remove(folder + kManifest, failed);
    fs::remove_all(folder, failed);
    if (failed) return Error{Code::kIo, "cannot delete it: " + failed.message(), folder};
  }
  return Ok{};
}

}  // namespace tw::train
