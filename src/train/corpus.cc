#include "train/corpus.h"

#include <algorithm>
#include <filesystem>

#include "base/mmap.h"
#include "base/utf8.h"

namespace tw::train {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::Error;
using base::Ok;
using base::Status;

bool is_text_name(const fs::path& path) {
  const std::string ending = path.extension().string();
  return (ending == ".txt" || ending == ".md" || ending == ".jsonl") &&
         !path.filename().string().starts_with('.');
}

/// Where the text stops being UTF-8 without zero bytes, which no text has; its size if nowhere.
std::size_t first_bad_byte(std::string_view text) {
  const std::size_t zero = std::min(text.find('\0'), text.size());
  if (base::is_valid_utf8(text.substr(0, zero))) return zero;
  std::size_t at = 0;
  while (at < zero) {
    std::size_t next = at;
    if (base::decode_utf8(text, next) == base::kReplacement && text.substr(at, 3) != "\xEF\xBF\xBD")
      return at;
    at = next;
  }
  return zero;
}

Status add_file(Corpus::File& file) {
  TW_ASSIGN_OR_RETURN(const base::MappedFile mapping, base::MappedFile::open(file.path));
  file.bytes = mapping.bytes().size();
  file.modified_ns = mapping.info().modified_ns;
  return Ok{};
}

base::Result<std::vector<fs::path>> list_folder(const std::string& folder, const std::string& without) {
  std::vector<fs::path> paths;
  std::error_code failed, no;
  for (fs::recursive_directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    if (!without.empty() && at->is_directory(no) && fs::equivalent(at->path(), without, no))
      at.disable_recursion_pending();
    if (is_text_name(at->path()) && at->is_regular_file(failed)) paths.push_back(at->path());
    if (failed) break;
  }
  if (failed) return Error{Code::kIo, "cannot list the folder: " + failed.message(), folder};
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Collects documents until a group is full.
class Grouper {
 public:
  Grouper(std::uint64_t bytes, const Corpus::Take& take) : limit_(bytes), take_(take) {}
  Status add(Document document) {
    if (document.text.empty()) return Ok{};
    bytes_ += document.text.size();
    group_.push_back(std::move(document));
    return bytes_ < limit_ ? Status(Ok{}) : flush();
  }
  Status flush() {
    if (group_.empty()) return Ok{};
    const std::vector<Document> group = std::exchange(group_, {});
    bytes_ = 0;
    return take_(group);
  }

 private:
  const std::uint64_t limit_;
  const Corpus::Take& take_;
  std::vector<Document> group_;
  std::uint64_t bytes_ = 0;
};

Status add_text_file(const std::string& path, Grouper& grouper) {
  TW_ASSIGN_OR_RETURN(base::MappedFile mapping, base::MappedFile::open(path));
  const auto owner = std::make_shared<const base::MappedFile>(std::move(mapping));
  std::string_view text(reinterpret_cast<const char*>(owner->bytes().data()), owner->bytes().size());
  TW_RETURN_IF_ERROR(check_text(text, path));
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark is no text
  return grouper.add({text, owner});
}

Status add_json_lines(const std::string& path, Grouper& grouper) {
  return each_json_line(path, [&](const base::OrderedJson& line) -> Status {
    const auto text = line.is_object() ? line.find("text") : line.end();
    if (!line.is_object() || text == line.end() || !text->is_string()) {
      const bool chat = line.is_object() && line.contains("messages");
      return base::error(
          Code::kCorrupt, "has no string \"text\"{}",
          chat
              ? ", but \"messages\": conversations are named by --chat, or have the kind \"chat\" in a recipe"
              : "");
    }
    const auto owner = std::make_shared<const std::string>(text->get<std::string>());
    return grouper.add({*owner, owner});
  });
}

}  // namespace

Status check_text(std::string_view text, const std::string& path) {
  const std::size_t at = first_bad_byte(text);
  if (at == text.size()) return Ok{};
  return Error{Code::kCorrupt,
               fmt::format("is no UTF-8 text: byte 0x{:02x} at offset {}; convert it or leave it out",
                           static_cast<unsigned char>(text[at]), at),
               path};
}

base::Result<Corpus> Corpus::open(const std::string& path, const std::string& without) {
  Corpus corpus;
  corpus.path_ = path;
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (!fs::exists(status)) return Error{Code::kNotFound, "there is no such folder or file", path};
  std::vector<fs::path> paths{path};
  if (fs::is_directory(status)) {
    TW_ASSIGN_OR_RETURN(paths, list_folder(path, without));
  } else if (!is_text_name(path)) {
    return Error{Code::kInvalidArgument, "is neither a folder nor a .txt, .md or .jsonl file", path};
  }
  for (const fs::path& found : paths) {
    File file{found.string(), 0, 0};
    TW_RETURN_IF_ERROR(add_file(file));
    corpus.bytes_ += file.bytes;
    corpus.files_.push_back(std::move(file));
  }
  if (corpus.bytes_ > 0) return corpus;
  return Error{Code::kNotFound,
               corpus.files_.empty()             ? "has no .txt, .md or .jsonl file in it"
               : !fs::is_directory(path, failed) ? "is empty"
                                                 : "has only empty .txt, .md and .jsonl files in it",
               path};
}

Status Corpus::each_group(std::uint64_t bytes, const Take& take) const {
  Grouper grouper(bytes, take);
  for (const File& file : files_) {
    const bool lines = file.path.ends_with(".jsonl");
    TW_RETURN_IF_ERROR(lines ? add_json_lines(file.path, grouper) : add_text_file(file.path, grouper));
  }
  return grouper.flush();
}

Status each_json_line(const std::string& path,
                      const std::function<Status(const base::OrderedJson& line)>& take) {
  TW_ASSIGN_OR_RETURN(const base::MappedFile mapping, base::MappedFile::open(path));
  std::string_view rest(reinterpret_cast<const char*>(mapping.bytes().data()), mapping.bytes().size());
  for (std::uint64_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto parse = [&]() -> Status {
      if (!base::is_valid_utf8(line)) return base::error(Code::kCorrupt, "is no UTF-8 text");
      TW_ASSIGN_OR_RETURN(const base::OrderedJson json, base::parse_ordered_json(line));
      return take(json);
    };
    if (const Status status = parse(); !status.ok())
      return Error{status.error().code, status.error().message, fmt::format("{}:{}", path, number)};
  }
  return Ok{};
}

}  // namespace tw::train
