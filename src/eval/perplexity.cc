#include "eval/perplexity.h"

#include <algorithm>

namespace tw::eval {
namespace {

using base::Code;

base::Status check(const Model& model, const PerplexityOptions& options) {
  if (options.window < 3)
    return base::error(Code::kInvalidArgument, "windows of fewer than 3 tokens score nothing: raise --ctx");
  if (options.stride > options.window)
    return base::error(Code::kInvalidArgument,
                       "a stride of {} leaves out what lies between windows of {} tokens: lower --stride",
                       options.stride, options.window);
  if (options.window <= model.engine.context()) return base::Ok{};
  return base::error(Code::kInvalidArgument, "windows of {} tokens do not fit into the context of {}",
                     options.window, model.engine.context());
}

base::Error no_window(const PerplexityOptions& options, std::size_t tokens) {
  if (!options.second_half)
    return base::error(Code::kInvalidArgument, "{} tokens are too few: none stands behind another", tokens);
  return base::error(Code::kInvalidArgument, "{} tokens are not one whole window of {}", tokens,
                     options.window);
}

}  // namespace

std::vector<Window> windows_of(std::int64_t tokens, bool bos, const PerplexityOptions& options) {
  std::vector<Window> windows;
  const auto more = [&] { return options.limit == 0 || windows.size() < options.limit; };
  if (options.second_half) {
    for (std::int64_t begin = 0; begin + options.window <= tokens && more(); begin += options.window)
      windows.push_back({begin, begin + options.window, begin + options.window / 2 + 1});
    return windows;
  }
  const std::int64_t length = options.window - (bos ? 1 : 0);
  const std::int64_t stride = options.stride == 0 ? length : std::min(options.stride, length);
  std::int64_t scored = 0;
  for (std::int64_t begin = 0; scored < tokens && more(); begin += stride) {
    const std::int64_t end = std::min(begin + length, tokens), from = std::max(scored, begin + (bos ? 0 : 1));
    if (from < end) windows.push_back({begin, end, from});
    scored = end;
  }
  return windows;
}

Passage TextWindows::passage(std::size_t index) const {
  const Window& window = windows[index];
  const std::int64_t before = bos && !second_half ? 1 : 0;
  Passage passage{std::vector<std::int32_t>(static_cast<std::size_t>(before + window.end - window.begin)),
                  before + window.from - window.begin};
  std::copy(tokens.begin() + window.begin, tokens.begin() + window.end, passage.tokens.begin() + before);
  if (bos) passage.tokens.front() = *bos;
  return passage;
}

TextWindows cut_text(const text::Tokenizer& tokenizer, std::string_view text,
                     const PerplexityOptions& options) {
  TextWindows cut;
  cut.tokens = tokenizer.encode(text, {.add_special = options.second_half, .parse_special = false});
  if (tokenizer.adds_bos()) cut.bos = tokenizer.bos();
  cut.second_half = options.second_half;
  cut.windows = windows_of(std::ssize(cut.tokens), cut.bos.has_value(), options);
  return cut;
}

base::Result<Perplexity> measure_perplexity(const Model& model, std::string_view text,
                                            const PerplexityOptions& options) {
  TW_RETURN_IF_ERROR(check(model, options));
  const TextWindows cut = cut_text(model.tokenizer, text, options);
  const std::vector<Window>& windows = cut.windows;
  if (windows.empty()) return no_window(options, cut.tokens.size());

  std::vector<Mean> losses(windows.size());  // added up in order, so that the last digit is always the same
  Mean so_far;
  std::size_t done = 0;
  const auto take = [&](std::size_t i, const std::vector<float>& logprobs) {
    for (const float logprob : logprobs) losses[i].add(-static_cast<double>(logprob));
    so_far.add(losses[i]);
    if (options.progress) {
      options.progress(static_cast<double>(++done) / static_cast<double>(windows.size()),
                       std::exp(so_far.value()));
    }
  };
  const auto make = [&](std::size_t i) -> base::Result<Passage> { return cut.passage(i); };
  TW_RETURN_IF_ERROR(score_passages(model, windows.size(), make, take));

  Perplexity result{windows.size(), std::ssize(cut.tokens), {}, 0};
  for (std::size_t i = 0; i < windows.size(); ++i) {
    result.loss.add(losses[i]);
    for (std::int64_t at = windows[i].from; at < windows[i].end; ++at)
      result.bytes +=
          static_cast<double>(model.tokenizer.piece(cut.tokens[static_cast<std::size_t>(at)]).size());
  }
  return result;
}

}  // namespace tw::eval
