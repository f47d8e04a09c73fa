#include "hub/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/env.h"
#include "base/mmap.h"
#include "io/packed_file.h"
#include "io/sha256.h"

namespace tw::hub {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::error;
using base::Result;
using base::Status;

Status make_folder(const std::string& path) {
  std::error_code ec;
  fs::create_directories(path, ec);
  if (ec) return base::Error{Code::kIo, fmt::format("cannot create the folder: {}", ec.message()), path};
  return base::Ok{};
}

Status move_folder(const std::string& from, const std::string& to) {
  std::error_code ec;
  fs::rename(from, to, ec);
  if (ec)
    return base::Error{Code::kIo, fmt::format("cannot rename {} into place: {}", from, ec.message()), to};
  return base::Ok{};
}

/// Makes the names in a folder survive a crash.
void sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

/// An interrupted pull of an older revision may have left files that are not part of the model.
void remove_leftovers(const std::string& folder, const Manifest& manifest) {
  std::vector<fs::path> extra;
  std::error_code ec;
  for (auto it = fs::directory_iterator(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    const bool known =
        name == "manifest.json" || std::any_of(manifest.files.begin(), manifest.files.end(),
                                               [&](const StoredFile& file) { return file.path == name; });
    if (!known) extra.push_back(it->path());
  }
  for (const fs::path& path : extra) fs::remove_all(path, ec);
}

/// A manifest for something that is not in the store.
Result<Manifest> refer_to(const std::string& path) {
  std::error_code ec;
  const fs::path absolute = fs::weakly_canonical(path, ec);
  if (ec || !fs::exists(absolute, ec)) return base::Error{Code::kNotFound, "does not exist", path};
  const bool folder = fs::is_directory(absolute, ec);
  if (folder && !fs::exists(absolute / "config.json", ec)) {
    return base::Error{Code::kInvalidArgument,
                       "is a folder without config.json: give a GGUF file or a model folder", path};
  }
  Manifest manifest;
  manifest.name = folder ? absolute.filename().string() : absolute.stem().string();
  manifest.source = manifest.reference = absolute.string();
  return manifest;
}

}  // namespace

ModelLock::~ModelLock() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Store> Store::open_default() {
  if (const auto home = base::env::tokenworks_home()) return Store(*home);
  if (const auto data = base::env::xdg_data_home()) return Store(*data + "/tokenworks");
  if (const auto home = base::env::home()) return Store(*home + "/.local/share/tokenworks");
  return error(Code::kInvalidArgument, "no place for the model store: set TOKENWORKS_HOME to a folder");
}

std::string Store::model_folder(const std::string& name) const {
  return models() + "/" + name;
}

Result<Manifest> Store::read(const std::string& name) const {
  if (!is_valid_name(name)) {
    return error(Code::kInvalidArgument, "'{}' is no model name: use letters, digits, '.', '_' and '-'",
                 name);
  }
  const std::string path = model_folder(name) + "/manifest.json";
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path, std::size_t{4} << 20));
  Result<Manifest> manifest = parse_manifest(text);
  if (!manifest.ok()) return base::Error{manifest.error().code, manifest.error().message, path};
  manifest->name = name;
  return manifest;
}

Store::Listing Store::list() const {
  Listing listing;
  std::error_code ec;
  for (auto it = fs::directory_iterator(models(), ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (!is_valid_name(name)) continue;
    Result<Manifest> manifest = read(name);
    if (manifest.ok())
      listing.models.push_back(std::move(*manifest));
    else
      listing.problems.push_back(manifest.error().text());
  }
  std::sort(listing.models.begin(), listing.models.end(),
            [](const Manifest& a, const Manifest& b) { return a.name < b.name; });
  return listing;
}

Result<Manifest> Store::find(std::string_view name_or_path) const {
  const std::string wanted(name_or_path);
  if (is_valid_name(wanted)) {
    Result<Manifest> exact = read(wanted);
    if (exact.ok() || exact.error().code != Code::kNotFound) return exact;
  }
  std::error_code ec;
  if (wanted.find('/') != std::string::npos || wanted.ends_with(".gguf") || fs::exists(wanted, ec))
    return refer_to(wanted);
  std::vector<Manifest> matches;
  std::string all, ambiguous;
  for (Manifest& manifest : list().models) {
    all += (all.empty() ? "" : ", ") + manifest.name;
    if (!lower(manifest.name).starts_with(lower(wanted))) continue;
    ambiguous += (ambiguous.empty() ? "" : ", ") + manifest.name;
    matches.push_back(std::move(manifest));
  }
  if (matches.size() == 1 && !wanted.empty()) return matches.front();
  if (matches.size() > 1 && !wanted.empty()) {
    return error(Code::kInvalidArgument, "'{}' may mean any of {}: write more of the name", wanted,
                 ambiguous);
  }
  return error(Code::kNotFound, "there is no model '{}' in {}{}: see tokenworks list and tokenworks pull",
               wanted, root_, all.empty() ? " (it is empty)" : " (it has " + all + ")");
}

std::string Store::load_path(const Manifest& manifest) const {
  if (!manifest.reference.empty()) return manifest.reference;
  for (const StoredFile& file : manifest.files) {
    if (file.path.ends_with(".gguf")) return model_folder(manifest.name) + "/" + file.path;
  }
  return model_folder(manifest.name);
}

Status Store::verify(const Manifest& manifest, bool hashes) const {
  std::error_code ec;
  if (!manifest.reference.empty()) {
    if (fs::exists(manifest.reference, ec)) return base::Ok{};
    return base::Error{Code::kNotFound, "is gone: pull the model again", manifest.reference};
  }
  for (const StoredFile& file : manifest.files) {
    const std::string path = model_folder(manifest.name) + "/" + file.path;
    const std::uint64_t size = fs::file_size(path, ec);
    if (ec) return base::Error{Code::kNotFound, "is missing: pull the model again", path};
    if (size != file.size) {
      return base::Error{Code::kCorrupt,
                         fmt::format("has {} bytes instead of {}: pull the model again", size, file.size),
                         path};
    }
    if (!hashes || file.sha256.empty()) continue;
    TW_ASSIGN_OR_RETURN(const std::string hash, io::sha256_of_file(path));
    if (hash != file.sha256) {
      return base::Error{Code::kCorrupt,
                         fmt::format("has sha256 {} instead of {}: pull the model again", hash, file.sha256),
                         path};
    }
  }
  return base::Ok{};
}

/// Moves the model out of sight by one rename, then deletes it at leisure.
Status Store::retire(const std::string& name) const {
  const std::string trash = models() + "/.trash";
  TW_RETURN_IF_ERROR(make_folder(trash));
  const std::string grave = fmt::format("{}/{}-{}", trash, name, ::getpid());
  std::error_code ec;
  fs::remove_all(grave, ec);
  TW_RETURN_IF_ERROR(move_folder(model_folder(name), grave));
  fs::remove_all(grave, ec);
  return base::Ok{};
}

Status Store::remove(const std::string& name) const {
  if (!is_valid_name(name)) return error(Code::kInvalidArgument, "'{}' is no model name", name);
  std::error_code ec;
  if (!fs::exists(model_folder(name), ec)) {
    return error(Code::kNotFound, "there is no model '{}' in {}: see tokenworks list", name, root_);
  }
  TW_ASSIGN_OR_RETURN(const ModelLock held, lock(name));
  // Those beside a model that is only referred to, or in the cache, would stay for ever.
  if (const Result<Manifest> manifest = read(name); manifest.ok())
    io::remove_packed_files(load_path(*manifest));
  return retire(name);
}

Result<ModelLock> Store::lock(const std::string& name, const std::atomic<bool>* cancel) const {
  TW_CHECK(is_valid_name(name), "names are checked before they are locked");
  TW_RETURN_IF_ERROR(make_folder(models() + "/.locks"));
  const std::string path = models() + "/.locks/" + name;
  // The file stays: deleting it would let two processes lock two different files of that name.
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0)
    return base::Error{Code::kIo, fmt::format("cannot open the lock: {}", std::strerror(errno)), path};
  ModelLock lock(fd);
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return base::Error{Code::kIo, fmt::format("cannot lock: {}", std::strerror(errno)), path};
    }
    if (cancel != nullptr && *cancel)
      return error(Code::kCancelled, "cancelled while waiting for another pull of {}", name);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return lock;
}

Result<std::string> Store::prepare_staging(const std::string& name, const std::string& source) const {
  const std::string folder = staging(name);
  const std::string marker = folder + "/.source";
  const Result<std::string> left = base::read_file(marker, 64 << 10);
  std::error_code ec;
  if (!left.ok() || *left != source) fs::remove_all(folder, ec);
  TW_RETURN_IF_ERROR(make_folder(folder));
  TW_RETURN_IF_ERROR(base::write_file_atomically(marker, source));
  return folder;
}

Status Store::commit(const Manifest& manifest) const {
  const std::string folder = staging(manifest.name);
  TW_RETURN_IF_ERROR(base::write_file_atomically(folder + "/manifest.json", write_manifest(manifest)));
  std::error_code ec;
  fs::remove(folder + "/.source", ec);
  remove_leftovers(folder, manifest);
  sync_folder(folder);
  if (fs::exists(model_folder(manifest.name), ec)) TW_RETURN_IF_ERROR(retire(manifest.name));
  TW_RETURN_IF_ERROR(move_folder(folder, model_folder(manifest.name)));
  sync_folder(models());
  return base::Ok{};
}

}  // namespace tw::hub
