#include "cli/history_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/env.h"

namespace tw::cli {
namespace {

base::Error system_error(const std::string& path, const char* what) {
  return base::Error{base::Code::kIo, fmt::format("cannot {}: {}", what, std::strerror(errno)), path};
}

/// The open file, with its lock. Both end with the object.
class Locked {
 public:
  static base::Result<Locked> open(const std::string& path) {
    Locked file(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
    if (file.fd_ < 0) return system_error(path, "open");
    struct stat info{};
    if (::fstat(file.fd_, &info) != 0) return system_error(path, "look at");
    if (!S_ISREG(info.st_mode)) return base::Error{base::Code::kIo, "is not a plain file", path};
    // What people type may be private, whoever made the file.
    if ((info.st_mode & 077) != 0 && ::fchmod(file.fd_, 0600) != 0) return system_error(path, "protect");
    if (::flock(file.fd_, LOCK_EX) != 0) return system_error(path, "lock");
    return file;
  }
  Locked(Locked&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Locked() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  explicit Locked(int fd) : fd_(fd) {}
  int fd_;
};

/// At most the last `limit` bytes, from the beginning of a line.
base::Result<std::string> read_tail(const Locked& file, const std::string& path, std::size_t limit) {
  struct stat info{};
  if (::fstat(file.fd(), &info) != 0) return system_error(path, "look at");
  const auto size = static_cast<std::size_t>(info.st_size);
  const std::size_t begin = size > limit ? size - limit : 0;
  std::string text(size - begin, '\0');
  const ssize_t got = ::pread(file.fd(), text.data(), text.size(), static_cast<off_t>(begin));
  if (got < 0) return system_error(path, "read");
  text.resize(static_cast<std::size_t>(got));
  if (begin > 0) text.erase(0, std::min(text.size(), text.find('\n') + 1));
  return text;
}

base::Status write_all(const Locked& file, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(file.fd(), text.data(), text.size());
    if (wrote < 0) return system_error(path, "write");
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return base::Ok{};
}

std::string escaped(std::string_view entry) {
  std::string line;
  for (const char c : entry) {
    if (c == '\\')
      line += "\\\\";
    else if (c == '\n')
      line += "\\n";
    else
      line += c;
  }
  return line + "\n";
}

std::string unescaped(std::string_view line) {
  std::string entry;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool escape = line[i] == '\\' && i + 1 < line.size();
    if (escape) ++i;
    entry += escape && line[i] == 'n' ? '\n' : line[i];
  }
  return entry;
}

std::vector<std::string> entries_of(std::string_view text) {
  std::vector<std::string> entries;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) entries.push_back(unescaped(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return entries;
}

}  // namespace

std::string HistoryFile::default_path() {
  if (const auto state = base::env::xdg_state_home()) return *state + "/tokenworks/run_history";
  if (const auto home = base::env::home()) return *home + "/.local/state/tokenworks/run_history";
  return {};
}

base::Result<HistoryFile> HistoryFile::open(std::string path, std::vector<std::string>& entries) {
  std::error_code failed;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!std::filesystem::exists(folder, failed)) {
    std::filesystem::create_directories(folder, failed);
    if (!failed) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, failed);
    if (failed) return base::Error{base::Code::kIo, "cannot create: " + failed.message(), folder.string()};
  }
  TW_ASSIGN_OR_RETURN(const Locked file, Locked::open(path));
  TW_ASSIGN_OR_RETURN(const std::string text, read_tail(file, path, kMaxBytes));
  entries = entries_of(text);
  if (entries.size() > kMaxEntries) entries.erase(entries.begin(), entries.end() - kMaxEntries);
  std::string kept;
  for (const std::string& entry : entries) kept += escaped(entry);
  struct stat info{};
  if (::fstat(file.fd(), &info) != 0) return system_error(path, "look at");
  if (static_cast<std::size_t>(info.st_size) != kept.size()) {
    if (::ftruncate(file.fd(), 0) != 0) return system_error(path, "shorten");
    TW_RETURN_IF_ERROR(write_all(file, path, kept));
  }
  return HistoryFile(std::move(path));
}

base::Status HistoryFile::add(std::string_view entry) const {
  const std::string line = escaped(entry);
  if (line.size() > kMaxBytes / 8) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const Locked file, Locked::open(path_));
  return write_all(file, path_, line);
}

}  // namespace tw::cli
