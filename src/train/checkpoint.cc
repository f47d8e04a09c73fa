#include "train/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/hash64.h"
#include "base/mmap.h"
#include "io/atomic_file.h"
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

/// The folders step-NNNNNNNN, newest first.
std::vector<std::string> step_folders(const std::string& root) {
  std::vector<std::string> folders;
  std::error_code ignored;
  for (fs::directory_iterator at(root, ignored), end; at != end; at.increment(ignored)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with("step-") && name.size() >= 13 &&
        name.find_first_not_of("0123456789", 5) == std::string::npos && at->is_directory(ignored))
      folders.push_back(at->path().string());
  }
  std::sort(folders.begin(), folders.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a > b;
  });
  return folders;
}

}  // namespace

Status write_checkpoint(const std::string& root, const CheckpointData& data) {
  const std::string folder = folder_of(root, data.step);
  std::error_code failed;
  // Of an earlier run from an older checkpoint, or half of one: its manifest must go first.
  fs::remove(folder + kManifest, failed);
  fs::remove_all(folder, failed);
  fs::create_directories(folder, failed);
  if (failed) return Error{Code::kIo, "cannot create the folder: " + failed.message(), folder};
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
  Json manifest = {{"format", 1}, {"step", data.step}, {"files", files}};
  if (data.validation_loss) manifest["validation_loss"] = *data.validation_loss;
  manifest["xxh64"] = hex(base::hash64(base::dump_json(manifest)));
  TW_RETURN_IF_ERROR(base::write_file_atomically(folder + kManifest, base::dump_json(manifest) + "\n"));
  TW_RETURN_IF_ERROR(io::sync_folder(folder));
  return io::sync_folder(root);
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
  for (const std::string& folder : step_folders(root)) {
    if (!fs::exists(folder + kManifest)) continue;  // a crash cut it off: never a checkpoint
    auto checkpoint = Checkpoint::open(folder);
    if (checkpoint.ok()) return checkpoint;
    damaged.push_back(checkpoint.error().text());
  }
  return Error{Code::kNotFound, "has no whole checkpoint in it", root};
}

Status prune_checkpoints(const std::string& root, int keep_last, int keep_best) {
  std::set<std::string> kept;
  std::multimap<double, std::string> by_loss;
  int newest = 0;
  for (const std::string& folder : step_folders(root)) {
    const auto manifest = read_manifest(folder);
    if (!manifest.ok()) continue;
    if (newest++ < keep_last) kept.insert(folder);
    if (manifest->contains("validation_loss"))
      by_loss.emplace(manifest->at("validation_loss").get<double>(), folder);
  }
  for (const auto& [loss, folder] : by_loss) {
    if (keep_best-- > 0) kept.insert(folder);
  }
  for (const std::string& folder : step_folders(root)) {
    // Damaged ones stay for whoever wants to look; half-written ones have no manifest.
    if (kept.contains(folder) || (fs::exists(folder + kManifest) && !read_manifest(folder).ok())) continue;
    std::error_code failed;
    fs::remove(folder + kManifest, failed);
    fs::remove_all(folder, failed);
    if (failed) return Error{Code::kIo, "cannot delete it: " + failed.message(), folder};
  }
  return Ok{};
}

}  // namespace tw::train
