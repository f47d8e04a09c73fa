// Inside this folder: one line of a file as a question.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "eval/question.h"

namespace tw::eval {

/// A format of JSONL, known by its keys.
struct JsonFormat {
  const char* name;
  bool (*fits)(const base::Json& line);  ///< line: an object
  /// Errors say what is missing or wrong, without the place.
  base::Result<Question> (*read)(const base::Json& line);
};

/// Null: none fits.
const JsonFormat* json_format_of(const base::Json& line);
/// The names of all, for messages.
std::string json_format_names();

/// A row of MMLU's files: question, four choices, the letter of the right one.
base::Result<Question> read_mmlu(std::span<const std::string> fields);
/// What stands before MMLU's questions, by the name of their file ("world_religions_test.csv"); empty for
/// other names.
std::string mmlu_description(const std::string& file);

/// HellaSwag's endings are from WikiHow, with its marks: what the harness makes of them.
std::string without_wikihow_marks(std::string_view text);

}  // namespace tw::eval
