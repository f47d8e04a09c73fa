// The pre-tokenizers that models name in GGUF's tokenizer.ggml.pre. The patterns are the ones published in
// the models' own tokenizer.json files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace tw::text {

inline constexpr std::string_view kDigitPattern = R"(\p{N})";
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
/// The same without its last branch, which changes nothing: what it would match stays over as a piece anyway.
inline constexpr std::string_view kGpt2ShortPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
inline constexpr std::string_view kCl100k1Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kCl100k3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// What a name stands for.
struct PreTokenizerRecipe {
  std::vector<PreTokenizerStep> steps;
  bool ignore_merges = false;  ///< pieces that are tokens are not merged (tiktoken's way)
  bool nfc = false;            ///< the model's tokenizer composes characters first
  bool known = true;           ///< false: the name is not in the table and this is "default"
};

PreTokenizerRecipe pre_tokenizer_recipe(std::string_view name);

/// A name that stands for the spec's own steps, the one whose composing of characters fits too if there is
/// one; empty: there is none.
std::string_view pre_tokenizer_name(const TokenizerSpec& spec);

/// BERT's: white space goes away, punctuation (and ASCII symbols) stand alone.
std::vector<PreTokenizerStep> bert_pre_steps();
/// BERT's uncased text cleaning: control characters, Chinese characters, accents, case.
std::vector<NormalizerStep> bert_normalizers();

/// Whether models with this pre-tokenizer want BOS when their file does not say.
bool pre_tokenizer_adds_bos(std::string_view name);

}  // namespace tw::text
