// The perplexity of a text: e to the mean negative log-probability of its tokens, each by those before it in
// a window.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "eval/passages.h"
#include "eval/statistics.h"

namespace tw::eval {

struct PerplexityOptions {
  std::int64_t window = 512;  ///< tokens the model sees at a time, BOS included; at least 2
  std::int64_t stride = 0;    ///< of the text, from one window's begin to the next one's; 0: no overlap
  /// Of each whole window only the second half is scored, as llama-perplexity does, so that no token has
  /// fewer than half a window before it. Needs stride 0.
  bool second_half = false;
  std::size_t limit = 0;  ///< the first so many windows; 0: all
  /// After each window: 0 to 1, and the perplexity so far. May be empty.
  std::function<void(double done, double perplexity)> progress = {};
};

/// Tokens [begin, end) of a text, of which those from `from` on are scored: those that no window before it
/// has scored, but never its first token unless a BOS stands before it.
struct Window {
  std::int64_t begin, end, from;
};

/// How a text of so many tokens is cut. With `bos` each window begins with that token: in place of the
/// text's own with second_half (where the text begins with one, as llama-perplexity has it), else before it.
std::vector<Window> windows_of(std::int64_t tokens, bool bos, const PerplexityOptions& options);

/// A text cut so.
struct TextWindows {
  std::vector<std::int32_t> tokens;
  std::optional<std::int32_t> bos;  ///< that windows begin with
  bool second_half = false;
  std::vector<Window> windows;

  /// A window as the model sees it, and what is scored of it.
  Passage passage(std::size_t index) const;
};
/// REQUIRES: options.window >= 2.
TextWindows cut_text(const text::Tokenizer& tokenizer, std::string_view text,
                     const PerplexityOptions& options);

struct Perplexity {
  std::size_t windows = 0;
  std::int64_t text_tokens = 0;
  Mean loss;         ///< negative log-probabilities of the scored tokens; tokens are taken as independent
  double bytes = 0;  ///< of the scored tokens' text
  double value() const { return std::exp(loss.value()); }
  double error() const { return value() * loss.error(); }  ///< to first order
  double bits_per_byte() const { return loss.sum() / std::log(2.0) / bytes; }
};

/// Errors: kInvalidArgument for a text that has no window, or a window longer than the engine's context.
base::Result<Perplexity> measure_perplexity(const Model& model, std::string_view text,
                                            const PerplexityOptions& options);

}  // namespace tw::eval
