#include "eval/multiple_choice.h"

#include <algorithm>

#include "text/jinja_str.h"

namespace tw::eval {
namespace {

/// The space between context and continuation is no part of a choice's length.
std::string_view without_space(std::string_view continuation) {
  if (continuation.starts_with(' ')) continuation.remove_prefix(1);
  return continuation;
}

/// Whether the right choice has the largest of `scores`; of equals the first counts, as numpy's argmax does.
double is_right(const Question& question, std::span<const double> scores) {
  return std::ranges::max_element(scores) - scores.begin() == static_cast<std::ptrdiff_t>(question.right) ? 1
                                                                                                          : 0;
}

void judge(const Question& question, std::span<const double> sums, ChoiceResult& result) {
  std::vector<double> by_characters, by_bytes;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::string_view choice = without_space(question.choices[i].continuation);
    const auto length = [](std::size_t n) { return static_cast<double>(std::max<std::size_t>(n, 1)); };
    by_characters.push_back(sums[i] / length(text::jinja::code_points(choice)));
    by_bytes.push_back(sums[i] / length(choice.size()));
  }
  result.accuracy.add(is_right(question, sums));
  result.by_characters.add(is_right(question, by_characters));
  result.by_bytes.add(is_right(question, by_bytes));
}

/// Which choice of which question, for all of them in one row.
struct Place {
  const Question* question;
  std::size_t choice;
};

std::vector<Place> places_of(std::span<const Question> questions) {
  std::vector<Place> places;
  for (const Question& question : questions) {
    for (std::size_t i = 0; i < question.choices.size(); ++i) places.push_back({&question, i});
  }
  return places;
}

}  // namespace

std::string preamble_of(const std::string& description, std::span<const Question> solved_ones) {
  std::string text = description;
  for (const Question& question : solved_ones) text += solved(question) + "\n\n";
  return text;
}

ChoicePassage choice_passage(const text::Tokenizer& tokenizer, std::string context, std::string continuation,
                             std::int64_t longest) {
  const auto trimmed = text::jinja::strip(context, text::jinja::Side::kRight).size();
  continuation.insert(0, context.substr(trimmed));
  context.resize(trimmed);
  const text::EncodeOptions plain{.add_special = false, .parse_special = false};
  ChoicePassage result;
  std::vector<std::int32_t>& tokens = result.passage.tokens;
  const auto begin = tokenizer.adds_bos() || (context.empty() && tokenizer.bos()) ? tokenizer.bos()
                     : context.empty()                                            ? tokenizer.eos()
                                                                                  : std::nullopt;
  tokens = tokenizer.encode(context, plain);
  const auto before = std::ssize(tokens) + (begin ? 1 : 0);
  const auto all = tokenizer.encode(context + continuation, plain);
  // A token may reach over the border: what is past it follows the context as it is alone, as in the harness.
  for (std::size_t i = tokens.size(); i < all.size(); ++i) tokens.push_back(all[i]);
  if (begin) tokens.insert(tokens.begin(), *begin);
  result.left_out = std::max<std::int64_t>(std::ssize(tokens) - longest, 0);
  tokens.erase(tokens.begin(), tokens.begin() + result.left_out);
  std::int64_t& from = result.passage.from = std::max<std::int64_t>(before, 1) - result.left_out;
  // A continuation that adds no token is at least the context's last one.
  if (tokens.size() > 1) from = std::min<std::int64_t>(from, std::ssize(tokens) - 1);
  return result;
}

base::Result<ChoiceResult> answer_questions(const Model& model, std::span<const Question> questions,
                                            const ChoiceOptions& options) {
  const std::vector<Place> places = places_of(questions);
  ChoiceResult result;
  result.log_likelihoods.resize(places.size());
  const auto too_long = [&](std::size_t i) {
    return base::error(base::Code::kInvalidArgument,
                       "question {}: a choice alone is longer than the context of {}",
                       places[i].question - questions.data() + 1, model.engine.context());
  };
  const auto make = [&](std::size_t i) -> base::Result<Passage> {
    const Choice& choice = places[i].question->choices[places[i].choice];
    ChoicePassage made = choice_passage(model.tokenizer, options.preamble + choice.context,
                                        choice.continuation, model.engine.context());
    if (made.left_out > 0) ++result.cut;
    if (made.passage.from < 1) return too_long(i);
    return std::move(made.passage);
  };
  std::size_t done = 0;
  const auto take = [&](std::size_t i, const std::vector<float>& logprobs) {
    for (const float logprob : logprobs) result.log_likelihoods[i] += static_cast<double>(logprob);
    if (options.progress) options.progress(static_cast<double>(++done) / static_cast<double>(places.size()));
  };
  TW_RETURN_IF_ERROR(score_passages(model, places.size(), make, take));
  std::span<const double> sums = result.log_likelihoods;
  for (const Question& question : questions) {
    judge(question, sums.first(question.choices.size()), result);
    sums = sums.subspan(question.choices.size());
  }
  return result;
}

}  // namespace tw::eval
