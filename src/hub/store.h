// The model store: a folder of models, each with its files and a manifest. The format on disk is specified in
// docs/formats/store.md. Safe among processes: a model appears and disappears by one rename, and whoever
// changes one holds its lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tw::hub {

struct StoredFile {
  std::string path;        ///< a plain file name within the model's folder
  std::uint64_t size = 0;  ///< bytes
  std::string sha256;      ///< 64 hex digits; empty for referenced files, which are not hashed
};

struct Manifest {
  std::string name;
  std::string source;     ///< as given to pull: "pip:...", "hf:...", "https://..." or a path
  std::string revision;   ///< the hub's commit; empty when not known
  std::string pulled;     ///< UTC, "2026-11-22T10:00:00Z"
  std::string license;    ///< as its publisher names it; empty when not known
  std::string reference;  ///< absolute path of a file or folder outside the store; empty for files inside
  std::vector<StoredFile> files;

  std::uint64_t total_size() const;
};

/// The manifest as the text of manifest.json, and back. Parsing fails with kCorrupt, naming the field.
std::string write_manifest(const Manifest& manifest);
base::Result<Manifest> parse_manifest(std::string_view text);

/// True for 1 to 128 of [A-Za-z0-9._-], beginning with a letter or digit.
bool is_valid_name(std::string_view name);
/// True for a plain name that is safe to create in a folder: no separator, control character or leading dot.
bool is_safe_file_name(std::string_view name);

/// Held while a model is changed. Released at the end of its life.
class ModelLock {
 public:
  explicit ModelLock(int fd) : fd_(fd) {}
  ModelLock(ModelLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  ModelLock& operator=(ModelLock&&) = delete;
  ~ModelLock();

 private:
  int fd_;
};

/// Copyable and thread-safe: it holds nothing but the path.
class Store {
 public:
  /// $TOKENWORKS_HOME, or $XDG_DATA_HOME/tokenworks, or $HOME/.local/share/tokenworks. Creates nothing.
  /// Fails with kInvalidArgument when none of these variables is set.
  static base::Result<Store> open_default();
  explicit Store(std::string root) : root_(std::move(root)) {}

  const std::string& root() const { return root_; }
  std::string model_folder(const std::string& name) const;

  struct Listing {
    std::vector<Manifest> models;       ///< by name
    std::vector<std::string> problems;  ///< one line for each folder whose manifest cannot be read
  };
  Listing list() const;

  /// By name, by a prefix of one name only, or by the path of a GGUF file or model folder (which need not be
  /// in the store: then the manifest is made up, with `reference` set). Fails with kNotFound, naming what
  /// there is.
  base::Result<Manifest> find(std::string_view name_or_path) const;
  /// By its exact name.
  base::Result<Manifest> read(const std::string& name) const;

  /// What to load: the path of the GGUF file, or of the folder with config.json.
  std::string load_path(const Manifest& manifest) const;
  /// Checks that every file is there with its size, and (slow) its sha256.
  base::Status verify(const Manifest& manifest, bool hashes) const;

  /// Removes the model by its exact name, and its packed weights. Files that are only referenced stay.
  base::Status remove(const std::string& name) const;

  /// Waits until nobody else changes that model. Fails with kCancelled when *cancel becomes true.
  base::Result<ModelLock> lock(const std::string& name, const std::atomic<bool>* cancel = nullptr) const;
  /// The folder in which a pull of `source` collects its files; what an interrupted pull of the same source
  /// left is still there, anything else is not. REQUIRES: the lock.
  base::Result<std::string> prepare_staging(const std::string& name, const std::string& source) const;
  /// Writes the manifest into the staging folder, then puts that folder in place of the model. REQUIRES: the
  /// lock.
  base::Status commit(const Manifest& manifest) const;

 private:
  std::string models() const { return root_ + "/models"; }
  std::string staging(const std::string& name) const { return models() + "/.partial/" + name; }
  base::Status retire(const std::string& name) const;

  std::string root_;
};

}  // namespace tw::hub
