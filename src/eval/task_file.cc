#include "eval/task_file.h"

#include <filesystem>

#include "base/csv_records.h"
#include "base/mmap.h"
#include "base/utf8.h"
#include "eval/task_formats.h"

namespace tw::eval {
namespace {

using base::Code;

/// The largest of the files known has 60 MB.
constexpr std::size_t kLargestFile = std::size_t{1} << 30;

/// Lines of a text, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    line = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    ++number_;
    return true;
  }
  std::int64_t number() const { return number_; }

 private:
  std::string_view rest_;
  std::int64_t number_ = 0;
};

class JsonLines {
 public:
  explicit JsonLines(const std::string& file) : file_(file) {}

  base::Result<TaskFile> read(std::string_view text) {
    TaskFile task;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
      if (line.empty()) continue;
      auto question = read_line(line);
      if (!question.ok()) {
        return base::Error{question.error().code, question.error().message,
                           fmt::format("{}:{}", file_, lines.number())};
      }
      task.questions.push_back(*std::move(question));
    }
    if (format_ != nullptr) task.format = format_->name;
    return task;
  }

 private:
  base::Result<Question> read_line(std::string_view line) {
    TW_ASSIGN_OR_RETURN(base::Json json, base::parse_json(line));
    if (!json.is_object()) return base::error(Code::kCorrupt, "is no JSON object");
    if (format_ == nullptr) {
      format_ = json_format_of(json);
      if (format_ == nullptr) {
        return base::error(Code::kCorrupt,
                           "has the keys of no format that is known ({}); see docs/guides/eval.md",
                           json_format_names());
      }
      if (format_->name == std::string_view("piqa") && !json.contains("label"))
        TW_RETURN_IF_ERROR(open_labels());
    }
    if (!labels_.empty()) TW_RETURN_IF_ERROR(add_label(json));
    return format_->read(json);
  }

  base::Status open_labels() {
    auto labels = base::read_file(labels_file_of(file_));
    if (!labels.ok())
      return base::error(Code::kNotFound, "has no \"label\", and there is no file {}", labels_file_of(file_));
    labels_ = *std::move(labels);
    label_lines_ = Lines(labels_);
    return base::Ok{};
  }

  base::Status add_label(base::Json& json) {
    std::string_view label;
    if (!label_lines_.next(label))
      return base::error(Code::kCorrupt, "{} has only {} lines", labels_file_of(file_),
                         label_lines_.number());
    json["label"] = label;
    return base::Ok{};
  }

  const std::string& file_;
  const JsonFormat* format_ = nullptr;
  std::string labels_;
  Lines label_lines_{""};
};

base::Result<TaskFile> read_csv(const std::string& file, std::string_view text) {
  TaskFile task{"mmlu", mmlu_description(file), {}};
  base::CsvRecords records(text);
  while (!records.done()) {
    const std::string place = fmt::format("{}:{}", file, records.line());
    const std::vector<std::string> fields = records.next();
    if (fields.size() == 1 && fields[0].empty()) continue;
    auto question = read_mmlu(fields);
    if (records.unterminated()) question = base::error(Code::kCorrupt, "a quote is never closed");
    if (!question.ok()) return base::Error{Code::kCorrupt, question.error().message, place};
    task.questions.push_back(*std::move(question));
  }
  return task;
}

}  // namespace

std::string labels_file_of(const std::string& file) {
  return std::filesystem::path(file).replace_extension().string() + "-labels.lst";
}

base::Result<TaskFile> read_task(const std::string& file) {
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(file, kLargestFile));
  if (!base::is_valid_utf8(text)) return base::Error{Code::kCorrupt, "is not UTF-8", file};
  TW_ASSIGN_OR_RETURN(TaskFile task,
                      file.ends_with(".csv") ? read_csv(file, text) : JsonLines(file).read(text));
  if (task.questions.empty()) return base::Error{Code::kCorrupt, "holds no question", file};
  return task;
}

}  // namespace tw::eval
