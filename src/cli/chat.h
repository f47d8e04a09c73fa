// A conversation in the terminal: history, one streamed answer at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "cli/startup.h"

namespace tw::cli {

struct AnswerStats {
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  double seconds_to_first = 0, seconds = 0;
  std::optional<infer::FinishReason> finish;  ///< none: there was no answer yet
};

class Chat {
 public:
  Chat(const Started& started, infer::SamplingParams sampling, std::int64_t max_tokens)
      : model_(*started.model),
        engine_(*started.engine),
        sampling_(std::move(sampling)),
        max_tokens_(max_tokens) {}

  void set_system(std::string text) { system_ = std::move(text); }
  void clear();

  /// Answers `text` and prints the answer on standard output as it comes. `interrupted` is asked now and
  /// then; true stops the answer, which stays in the history as far as it came.
  base::Status answer(const std::string& text, const std::function<bool()>& interrupted);

  const AnswerStats& last() const { return last_; }
  std::size_t turns() const { return messages_.size() / 2; }
  std::int64_t context() const { return engine_.context(); }

 private:
  base::Result<std::vector<std::int32_t>> prompt(const std::string& text) const;

  const model::LoadedModel& model_;
  infer::Engine& engine_;
  infer::SamplingParams sampling_;
  std::int64_t max_tokens_;
  std::string system_;
  base::OrderedJson messages_ = base::OrderedJson::array();
  AnswerStats last_;
};

}  // namespace tw::cli
