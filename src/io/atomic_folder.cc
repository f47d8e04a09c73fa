#include "io/atomic_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "io/atomic_file.h"
#include "io/tensor_file.h"

namespace tw::io {
namespace {

namespace fs = std::filesystem;
using base::Code;
constexpr const char* kPartial = ".partial";

base::Error failed(const std::string& path, const char* what, const std::error_code& why) {
  const bool full = why == std::errc::no_space_on_device;
  return {full ? Code::kResourceExhausted : Code::kIo, fmt::format("cannot {}: {}", what, why.message()),
          path};
}

bool matches(std::string_view name, std::string_view pattern) {
  if (!pattern.ends_with('*')) return name == pattern;
  return name.starts_with(pattern.substr(0, pattern.size() - 1));
}

/// `suffix`: what a name may have behind it.
base::Status check_replaceable(const std::string& path, std::span<const std::string_view> replaceable,
                               std::string_view suffix = {}) {
  std::error_code error;
  if (!fs::exists(path, error)) return base::Ok{};
  if (!fs::is_directory(path, error))
    return base::Error{Code::kInvalidArgument, "is a file: name a folder", path};
  fs::directory_iterator at(path, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const fs::directory_entry& entry = *at;
    const std::string name = entry.path().filename().string();
    std::string_view bare = name;
    if (bare.ends_with(suffix)) bare.remove_suffix(suffix.size());
    const bool known = std::any_of(replaceable.begin(), replaceable.end(),
                                   [&](std::string_view pattern) { return matches(bare, pattern); });
    if (known && entry.is_regular_file(error)) continue;
    return base::Error{
        Code::kInvalidArgument,
        fmt::format("holds {}, which would be lost: name another folder, or move it away", quote_text(name)),
        path};
  }
  return error ? base::Status(failed(path, "read", error)) : base::Status(base::Ok{});
}

}  // namespace

AtomicFolder::AtomicFolder(std::string path) : path_(std::move(path)), partial_(path_ + kPartial) {}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::move(other.partial_)),
      open_(std::exchange(other.open_, false)) {}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (open_) fs::remove_all(partial_, ignored);
}

base::Result<AtomicFolder> AtomicFolder::create(const std::string& path,
                                                std::span<const std::string_view> replaceable) {
  fs::path whole = fs::path(path).lexically_normal();
  if (whole.filename().empty()) whole = whole.parent_path();  // a slash at the end
  TW_RETURN_IF_ERROR(check_replaceable(whole.string(), replaceable));
  // Files of an unfinished folder may be unfinished themselves: AtomicFile's, write_file_atomically's.
  TW_RETURN_IF_ERROR(check_replaceable(whole.string() + kPartial, replaceable, kPartial));
  AtomicFolder folder(whole.string());
  std::error_code error;
  fs::remove_all(folder.partial_, error);  // of a run that was killed
  if (!error) fs::create_directories(folder.partial_, error);
  if (error) return failed(folder.partial_, "create", error);
  return folder;
}

/// Nothing is there yet, or this file system cannot exchange.
base::Status AtomicFolder::move_in() const {
  std::error_code error;
  const std::string old = path_ + ".old";
  const bool there = fs::exists(path_, error);
  if (there && fs::exists(old, error))
    return base::Error{Code::kInvalidArgument, "is in the way: move it away", old};
  if (there) fs::rename(path_, old, error);
  if (!error) fs::rename(partial_, path_, error);
  if (error) return failed(path_, "finish", error);
  if (there) fs::remove_all(old, error);
  return base::Ok{};
}

base::Status AtomicFolder::commit() {
  TW_RETURN_IF_ERROR(sync_folder(partial_));
  std::error_code error;
  // Exchanged, there is always a whole folder of this name.
  const bool exchanged =
      ::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) == 0;
  if (!exchanged) TW_RETURN_IF_ERROR(move_in());
  TW_RETURN_IF_ERROR(sync_folder(fs::path(path_).parent_path().string()));
  fs::remove_all(partial_, error);  // the old one, if exchanged
  open_ = false;
  return base::Ok{};
}

}  // namespace tw::io
