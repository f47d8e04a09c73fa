// Files of questions as they are published, and as the lm-evaluation-harness words them for a model.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "eval/question.h"

namespace tw::eval {

struct TaskFile {
  std::string format;       ///< "hellaswag", "mmlu", ...: docs/guides/eval.md
  std::string description;  ///< stands once before all else; may be empty
  std::vector<Question> questions;
};

/// Reads JSONL (one question a line; the keys of the first say which format) or CSV (MMLU). Errors name the
/// file, and the line of what is broken: kNotFound, kIo, kCorrupt.
base::Result<TaskFile> read_task(const std::string& file);

/// Where PIQA's answers to `valid.jsonl` are: `valid-labels.lst`.
std::string labels_file_of(const std::string& file);

}  // namespace tw::eval
