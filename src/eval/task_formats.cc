// How the lm-evaluation-harness words each task (lm_eval/tasks: hellaswag, arc, mmlu, piqa, boolq,
// winogrande), so that figures can be compared with those published by it.
#include "eval/task_formats.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "text/jinja_str.h"

namespace tw::eval {
namespace {

using base::Code;
using base::Json;
using Texts = std::vector<std::string>;

base::Error wrong(std::string text) {
  return {Code::kCorrupt, std::move(text), {}};
}

bool has(const Json& line, std::initializer_list<const char*> keys) {
  return std::ranges::all_of(keys, [&](const char* key) { return line.contains(key); });
}

base::Result<std::string> text_of(const Json& line, const char* key) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_string()) return wrong(fmt::format("has no text \"{}\"", key));
  return found->get<std::string>();
}

base::Result<Texts> texts_of(const Json& list, const char* what) {
  Texts texts;
  for (const Json& one : list.is_array() ? list : Json::array()) {
    if (!one.is_string()) return wrong(fmt::format("\"{}\" has an entry that is no text", what));
    texts.push_back(one.get<std::string>());
  }
  if (texts.size() < 2) return wrong(fmt::format("\"{}\" is no list of two or more texts", what));
  return texts;
}

Question question_of(const std::string& context, const Texts& choices, std::size_t right) {
  Question question;
  for (const std::string& choice : choices) question.choices.push_back({context, " " + choice});
  question.right = right;
  return question;
}

/// An index from 0, as a number or in digits.
base::Result<std::size_t> index_of(const Json& line, const char* key, std::size_t choices,
                                   std::size_t first = 0) {
  const auto found = line.find(key);
  if (found == line.end() || *found == "") return wrong(fmt::format("has no \"{}\"", key));
  std::size_t index = choices + first;
  if (found->is_number_unsigned()) {
    index = found->get<std::size_t>();
  } else if (found->is_string()) {
    const auto text = found->get<std::string>();
    if (text.size() == 1 && text[0] >= '0' && text[0] <= '9') index = static_cast<std::size_t>(text[0] - '0');
  }
  if (index < first || index >= first + choices) {
    return wrong(fmt::format("\"{}\" is {}, not a number from {} to {}", key, base::dump_json(*found), first,
                             first + choices - 1));
  }
  return index - first;
}

base::Result<Question> read_hellaswag(const Json& line) {
  TW_ASSIGN_OR_RETURN(const std::string activity, text_of(line, "activity_label"));
  TW_ASSIGN_OR_RETURN(const std::string begin, text_of(line, "ctx_a"));
  TW_ASSIGN_OR_RETURN(const std::string more, text_of(line, "ctx_b"));
  TW_ASSIGN_OR_RETURN(Texts endings, texts_of(line.value("endings", Json()), "endings"));
  TW_ASSIGN_OR_RETURN(const std::size_t right, index_of(line, "label", endings.size()));
  for (std::string& ending : endings) ending = without_wikihow_marks(ending);
  return question_of(without_wikihow_marks(activity + ": " + begin + " " + text::jinja::to_capitalized(more)),
                     endings, right);
}

/// {"question": {"stem", "choices": [{"text", "label"}]}} as published, or {"question", "choices": {"text":
/// [], "label": []}} as Hugging Face's data sets have it.
base::Result<Question> read_arc(const Json& line) {
  const bool nested = line.contains("question") && line["question"].is_object();
  const Json& body = nested ? line["question"] : line;
  const char* stem = nested ? "stem" : line.contains("question_stem") ? "question_stem" : "question";
  TW_ASSIGN_OR_RETURN(const std::string question, text_of(body, stem));
  TW_ASSIGN_OR_RETURN(const std::string answer, text_of(line, "answerKey"));
  Json all = body.value("choices", Json());
  if (all.is_array()) {
    Json turned = {{"text", Json::array()}, {"label", Json::array()}};
    for (const Json& one : all) {
      for (const char* key : {"text", "label"})
        turned[key].push_back(one.is_object() ? one.value(key, Json()) : Json());
    }
    all = std::move(turned);
  }
  if (!all.is_object()) return wrong("has no \"choices\"");
  TW_ASSIGN_OR_RETURN(const Texts choices, texts_of(all.value("text", Json()), "choices"));
  TW_ASSIGN_OR_RETURN(const Texts labels, texts_of(all.value("label", Json()), "choices"));
  const auto right = std::ranges::find(labels, answer);
  if (labels.size() != choices.size() || right == labels.end())
    return wrong(fmt::format("\"answerKey\" is {}, which no choice has", base::dump_json(Json(answer))));
  return question_of("Question: " + question + "\nAnswer:", choices,
                     static_cast<std::size_t>(right - labels.begin()));
}

base::Result<Question> read_piqa(const Json& line) {
  TW_ASSIGN_OR_RETURN(const std::string goal, text_of(line, "goal"));
  TW_ASSIGN_OR_RETURN(const std::string first, text_of(line, "sol1"));
  TW_ASSIGN_OR_RETURN(const std::string second, text_of(line, "sol2"));
  TW_ASSIGN_OR_RETURN(const std::size_t right, index_of(line, "label", 2));
  return question_of("Question: " + goal + "\nAnswer:", {first, second}, right);
}

base::Result<Question> read_boolq(const Json& line) {
  TW_ASSIGN_OR_RETURN(const std::string passage, text_of(line, "passage"));
  TW_ASSIGN_OR_RETURN(const std::string question, text_of(line, "question"));
  const Json answer = line.contains("answer") ? line["answer"] : line.value("label", Json());
  if (!answer.is_boolean() && answer != 0 && answer != 1)
    return wrong("its answer is neither true nor false");
  const bool yes = answer.is_boolean() ? answer.get<bool>() : answer == 1;
  return question_of(passage + "\nQuestion: " + question + "?\nAnswer:", {"no", "yes"}, yes ? 1 : 0);
}

/// The continuation is the same for both; what is filled in before it differs.
base::Result<Question> read_winogrande(const Json& line) {
  TW_ASSIGN_OR_RETURN(const std::string sentence, text_of(line, "sentence"));
  TW_ASSIGN_OR_RETURN(const std::size_t right, index_of(line, "answer", 2, 1));
  const std::size_t gap = sentence.find('_');
  if (gap == std::string::npos) return wrong("\"sentence\" has no \"_\" to fill in");
  const std::string rest(
      text::jinja::strip(std::string_view(sentence).substr(gap + 1), text::jinja::Side::kBoth));
  Question question;
  question.right = right;
  for (const char* key : {"option1", "option2"}) {
    TW_ASSIGN_OR_RETURN(const std::string option, text_of(line, key));
    question.choices.push_back({sentence.substr(0, gap) + option, " " + rest});
  }
  return question;
}

constexpr std::array kContextKeys = {"context", "ctx", "query", "prompt"};
constexpr std::array kLabelKeys = {"label", "answer", "gold"};

/// An index from 0, the choice itself, or its letter.
base::Result<std::size_t> label_of(const Json& line, const Texts& choices) {
  const auto* const key = std::ranges::find_if(kLabelKeys, [&](const char* k) { return line.contains(k); });
  if (key == kLabelKeys.end()) return wrong("has no \"label\" (or \"answer\", \"gold\")");
  if (line[*key].is_string()) {
    const auto text = line[*key].get<std::string>();
    const auto same = std::ranges::find(choices, text);
    if (same != choices.end()) return static_cast<std::size_t>(same - choices.begin());
    if (text.size() == 1 && text[0] >= 'A' && text[0] <= 'Z') {
      const auto letter = static_cast<std::size_t>(text[0] - 'A');
      if (letter < choices.size()) return letter;
    }
  }
  return index_of(line, *key, choices.size());
}

base::Result<Question> read_plain(const Json& line) {
  TW_ASSIGN_OR_RETURN(const Texts choices, texts_of(line.value("choices", Json()), "choices"));
  TW_ASSIGN_OR_RETURN(const std::size_t right, label_of(line, choices));
  std::string context;
  const auto* const key = std::ranges::find_if(kContextKeys, [&](const char* k) { return line.contains(k); });
  if (key != kContextKeys.end()) {
    TW_ASSIGN_OR_RETURN(context, text_of(line, *key));
  } else {
    TW_ASSIGN_OR_RETURN(const std::string question, text_of(line, "question"));
    context = "Question: " + question + "\nAnswer:";
  }
  return question_of(context, choices, right);
}

/// The first that fits is taken.
constexpr JsonFormat kFormats[] = {
    {"hellaswag", [](const Json& line) { return has(line, {"endings", "ctx_a"}); }, read_hellaswag},
    {"winogrande", [](const Json& line) { return has(line, {"sentence", "option1"}); }, read_winogrande},
    {"piqa", [](const Json& line) { return has(line, {"goal", "sol1"}); }, read_piqa},
    {"arc", [](const Json& line) { return has(line, {"answerKey"}); }, read_arc},
    {"plain", [](const Json& line) { return has(line, {"choices"}); }, read_plain},
    {"boolq", [](const Json& line) { return has(line, {"passage", "question"}); }, read_boolq},
};

}  // namespace

const JsonFormat* json_format_of(const Json& line) {
  const auto* const format =
      std::ranges::find_if(kFormats, [&](const JsonFormat& f) { return f.fits(line); });
  return format == std::end(kFormats) ? nullptr : format;
}

std::string json_format_names() {
  std::string names;
  for (const JsonFormat& format : kFormats) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

base::Result<Question> read_mmlu(std::span<const std::string> fields) {
  if (fields.size() != 6)
    return wrong(fmt::format("{} fields, but a question, four choices and a letter are six", fields.size()));
  const std::string& answer = fields[5];
  if (answer.size() != 1 || answer[0] < 'A' || answer[0] > 'D')
    return wrong(fmt::format("the answer is {}, not A, B, C or D", base::dump_json(Json(answer))));
  std::string context(text::jinja::strip(fields[0], text::jinja::Side::kBoth));
  for (std::size_t i = 0; i < 4; ++i)
    context += fmt::format("\n{}. {}", static_cast<char>('A' + i), fields[1 + i]);
  return question_of(context + "\nAnswer:", {"A", "B", "C", "D"}, static_cast<std::size_t>(answer[0] - 'A'));
}

std::string mmlu_description(const std::string& file) {
  std::string subject = std::filesystem::path(file).stem().string();
  if (!subject.ends_with("_test") && !subject.ends_with("_val") && !subject.ends_with("_dev")) return {};
  subject.erase(subject.rfind('_'));
  std::ranges::replace(subject, '_', ' ');
  return "The following are multiple choice questions (with answers) about " + subject + ".\n\n";
}

std::string without_wikihow_marks(std::string_view marked) {
  std::string text(text::jinja::strip(marked, text::jinja::Side::kBoth));
  const auto replace = [&](std::string_view from, std::string_view to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
  };
  replace(" [title]", ". ");
  for (std::size_t open = text.find('['); open != std::string::npos; open = text.find('[', open)) {
    const std::size_t close = text.find_first_of("]\n", open);
    if (close == std::string::npos) break;
    if (text[close] == ']')
      text.erase(open, close + 1 - open);
    else
      open = close;
  }
  replace("  ", " ");
  return text;
}

}  // namespace tw::eval
