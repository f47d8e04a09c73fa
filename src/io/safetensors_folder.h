// The tensors of a Hugging Face model folder, in one file or many.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/safetensors.h"

namespace tw::io {

/// Owns its files; movable; immutable and therefore thread-safe.
class SafetensorsFolder {
 public:
  /// `path` is a .safetensors file, an index (*.safetensors.index.json), or a folder, in which the first of
  /// these is used: model.safetensors.index.json, model.safetensors, all *.safetensors. Fails as
  /// SafetensorsFile::open does, and with kCorrupt when a shard's name is no plain file name, a tensor is in
  /// two shards, or a shard lacks a tensor that the index promises.
  static base::Result<SafetensorsFolder> open(const std::string& path);

  /// In the order of the files' names.
  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// Of all files.
  const std::vector<const TensorEntry*>& tensors() const { return tensors_; }
  /// nullptr when no file has such a tensor of a type that can be read.
  const TensorEntry* find(std::string_view name) const;
  /// kNotFound, or kUnsupported naming the type.
  base::Result<const TensorEntry*> get(std::string_view name) const;
  const std::string& path() const { return path_; }

 private:
  SafetensorsFolder() = default;
  base::Status add(const std::string& path);

  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::vector<const TensorEntry*> tensors_;
  std::map<std::string_view, std::size_t> file_of_;  ///< of every tensor, unsupported ones too
};

}  // namespace tw::io
