#include "io/safetensors_folder.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "base/json.h"
#include "base/mmap.h"

namespace tw::io {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using base::Ok;
using base::Result;
using base::Status;

constexpr std::size_t kMaxFiles = 10000;
constexpr std::string_view kIndexName = "model.safetensors.index.json";

/// What to open, and what an index says is in which file.
struct Shards {
  std::vector<std::string> paths;                             ///< sorted
  std::vector<std::pair<std::string, std::string>> promises;  ///< tensor, path
};

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

Result<Shards> read_index(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path));
  auto json = base::parse_json(text, 8);
  if (!json.ok()) return Error{Code::kCorrupt, json.error().message, path};
  const auto map = json->is_object() ? json->find("weight_map") : json->end();
  if (!json->is_object() || map == json->end() || !map->is_object() || map->empty()) {
    return Error{Code::kCorrupt, "has no weight_map that names the files of the tensors", path};
  }
  Shards shards;
  std::set<std::string> paths;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      return Error{Code::kCorrupt,
                   fmt::format("weight_map gives tensor {} the file {}, which is no plain file name",
                               quote_text(tensor), quote_text(base::dump_json(file))),
                   path};
    }
    const std::string shard = (fs::path(path).parent_path() / file.get_ref<const std::string&>()).string();
    paths.insert(shard);
    shards.promises.emplace_back(tensor, shard);
  }
  shards.paths.assign(paths.begin(), paths.end());
  return shards;
}

Result<Shards> list_folder(const std::string& path) {
  std::error_code failure;
  Shards shards;
  fs::directory_iterator it(path, failure);
  for (; !failure && it != fs::directory_iterator(); it.increment(failure)) {
    if (it->path().extension() == ".safetensors") shards.paths.push_back(it->path().string());
  }
  if (failure) return Error{Code::kIo, fmt::format("cannot list the folder: {}", failure.message()), path};
  if (shards.paths.empty()) {
    return Error{Code::kNotFound, "has no .safetensors file; give a model's folder or download the weights",
                 path};
  }
  std::ranges::sort(shards.paths);
  return shards;
}

Result<Shards> find_shards(const std::string& path) {
  std::error_code ignored;
  if (path.ends_with(".index.json")) return read_index(path);
  if (!fs::is_directory(path, ignored)) return Shards{{path}, {}};
  const std::string index = (fs::path(path) / kIndexName).string();
  if (fs::exists(index, ignored)) return read_index(index);
  const std::string single = (fs::path(path) / "model.safetensors").string();
  if (fs::exists(single, ignored)) return Shards{{single}, {}};
  return list_folder(path);
}

}  // namespace

Status SafetensorsFolder::add(const std::string& path) {
  TW_ASSIGN_OR_RETURN(SafetensorsFile opened, SafetensorsFile::open(path));
  const SafetensorsFile& file = files_.emplace_back(std::move(opened));
  const auto claim = [&](std::string_view name) -> Status {
    const auto [it, fresh] = file_of_.emplace(name, files_.size() - 1);
    if (fresh) return Ok{};
    return Error{
        Code::kCorrupt,
        fmt::format("has the tensor {}, which {} has too; remove the file that is not part of the model",
                    quote_text(name), files_[it->second].path()),
        path};
  };
  for (const TensorEntry& entry : file.tensors()) {
    TW_RETURN_IF_ERROR(claim(entry.name));
    tensors_.push_back(&entry);
  }
  for (const auto& [name, type] : file.unsupported()) TW_RETURN_IF_ERROR(claim(name));
  return Ok{};
}

Result<SafetensorsFolder> SafetensorsFolder::open(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const Shards shards, find_shards(path));
  if (shards.paths.size() > kMaxFiles) {
    return Error{Code::kResourceExhausted, fmt::format("has more than {} files of weights", kMaxFiles), path};
  }
  SafetensorsFolder folder;
  folder.path_ = path;
  folder.files_.reserve(shards.paths.size());  // entries are pointed to
  for (const std::string& shard : shards.paths) TW_RETURN_IF_ERROR(folder.add(shard));
  for (const auto& [tensor, shard] : shards.promises) {
    const auto it = folder.file_of_.find(tensor);
    if (it == folder.file_of_.end() || folder.files_[it->second].path() != shard) {
      return Error{Code::kCorrupt,
                   fmt::format("lacks the tensor {}, which the index says it has; download it again",
                               quote_text(tensor)),
                   shard};
    }
  }
  return folder;
}

const TensorEntry* SafetensorsFolder::find(std::string_view name) const {
  const auto it = file_of_.find(name);
  return it == file_of_.end() ? nullptr : files_[it->second].find(name);
}

Result<const TensorEntry*> SafetensorsFolder::get(std::string_view name) const {
  const auto it = file_of_.find(name);
  if (it == file_of_.end())
    return Error{Code::kNotFound, fmt::format("has no tensor {}", quote_text(name)), path_};
  return files_[it->second].get(name);
}

}  // namespace tw::io
