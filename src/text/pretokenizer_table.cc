#include "text/pretokenizer_table.h"

#include <algorithm>
#include <array>
#include <span>

namespace tw::text {
namespace {

using Patterns = std::span<const std::string_view>;

constexpr std::string_view kCjk = R"([一-龥ࠀ-一가-퟿]+)";

constexpr std::string_view kDefault[] = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)",
                                         R"([0-9][0-9][0-9])"};
constexpr std::string_view kGpt2[] = {kGpt2Pattern};
constexpr std::string_view kGpt2Digits[] = {kDigitPattern, kGpt2Pattern};
constexpr std::string_view kCl100k1[] = {kCl100k1Pattern};
constexpr std::string_view kCl100k3[] = {kCl100k3Pattern};
constexpr std::string_view kQwen35[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kFalcon[] = {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, R"([0-9][0-9][0-9])"};
constexpr std::string_view kDeepseekCoder[] = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kCjk,
                                               kDigitPattern};
/// The letters here are those with case, as the model's file lists them.
constexpr std::string_view kDeepseekLlm[] = {
    R"([\r\n])",
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c})"
    R"(\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5})"
    R"(\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b})"
    R"(\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45})"
    R"(\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"
    R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb})"
    R"(\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115})"
    R"(\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139})"
    R"(\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
    R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
    R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"
    R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)",
    R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)",
    R"(\s+$)",
    kCjk,
    R"(\p{N}+)"};
constexpr std::string_view kDeepseekV3[] = {
    R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kTekken[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kO200k[] = {
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kKimi[] = {
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kBloom[] = {R"( ?[^(\s|.,!?…。，、।۔،)]+)"};
constexpr std::string_view kViking[] = {R"( ?[^(\s|.,!?…。，、।۔،)]+)", kDigitPattern};
constexpr std::string_view kBailing[] = {
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"};
constexpr std::string_view kSeedCoder[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kChameleon[] = {
    R"(<sentinel:[0-9]+>)",    R"((IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z)",
    R"(([\t\n]|    |  ))",     kDigitPattern,
    R"([\p{P}!-/:-@\[-`{-~])", kGpt2Pattern};

constexpr unsigned kIgnoreMerges = 1;
constexpr unsigned kAddsBos = 2;
constexpr unsigned kNfc = 4;

struct Row {
  std::string_view name;
  Patterns patterns;
  unsigned flags = 0;
};

constexpr Row kRows[] = {
    {"default", kDefault},
    {"llama3", kCl100k3, kIgnoreMerges | kAddsBos},
    {"llama-v3", kCl100k3, kIgnoreMerges | kAddsBos},
    {"llama-bpe", kCl100k3, kIgnoreMerges | kAddsBos},
    {"falcon3", kCl100k3, kIgnoreMerges | kAddsBos},
    {"falcon-h1", kCl100k3, kIgnoreMerges | kAddsBos},
    {"pixtral", kCl100k3, kIgnoreMerges | kAddsBos},
    {"midm-2.0", kCl100k3, kIgnoreMerges | kAddsBos},
    {"lfm2", kCl100k3, kIgnoreMerges | kAddsBos},
    {"dbrx", kCl100k3},
    {"smaug-bpe", kCl100k3},
    {"glm4", kCl100k3},
    {"chatglm-bpe", kCl100k3},
    {"qwen2", kCl100k1, kNfc},
    {"megrez", kCl100k1},
    {"deepseek-r1-qwen", kCl100k1},
    {"stablelm2", kCl100k1},
    {"hunyuan", kCl100k1},
    {"grok-2", kCl100k1},
    {"qwen35", kQwen35, kNfc},
    {"deepseek-llm", kDeepseekLlm},
    {"deepseek-coder", kDeepseekCoder},
    {"deepseek-v3", kDeepseekV3},
    {"hunyuan-dense", kDeepseekV3},
    {"falcon", kFalcon},
    {"smollm", kGpt2Digits},
    {"starcoder", kGpt2Digits},
    {"refact", kGpt2Digits},
    {"command-r", kGpt2Digits},
    {"codeshell", kGpt2Digits},
    {"exaone", kGpt2Digits},
    {"minerva-7b", kGpt2Digits},
    {"gpt-2", kGpt2},
    {"gpt2", kGpt2},
    {"phi-2", kGpt2},
    {"mpt", kGpt2},
    {"olmo", kGpt2},
    {"jais", kGpt2},
    {"trillion", kGpt2},
    {"granite-docling", kGpt2},
    {"exaone4", kGpt2},
    {"gigachat", kGpt2},
    {"jina-es", kGpt2},
    {"jina-de", kGpt2},
    {"jina-v2-es", kGpt2},
    {"jina-v2-de", kGpt2},
    {"jina-v2-code", kGpt2},
    {"roberta-bpe", kGpt2},
    {"a.x-4.0", kGpt2},
    {"mellum", kGpt2},
    {"modern-bert", kGpt2},
    {"tekken", kTekken, kIgnoreMerges | kAddsBos},
    {"gpt-4o", kO200k},
    {"llama4", kO200k},
    {"kanana2", kO200k},
    {"minimax-m2", kO200k},
    {"kimi-k2", kKimi},
    {"poro-chat", kBloom},
    {"bloom", kBloom},
    {"gpt3-finnish", kBloom},
    {"viking", kViking},
    {"bailingmoe", kBailing},
    {"bailingmoe2", kBailing},
    {"llada-moe", kBailing},
    {"seed-coder", kSeedCoder},
    {"chameleon", kChameleon, kAddsBos},
};

const Row* find_row(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace

PreTokenizerRecipe pre_tokenizer_recipe(std::string_view name) {
  const Row* row = find_row(name);
  PreTokenizerRecipe recipe;
  recipe.known = row != nullptr;
  if (row == nullptr) row = &kRows[0];
  for (const std::string_view pattern : row->patterns)
    recipe.steps.push_back({.pattern = std::string(pattern)});
  recipe.ignore_merges = row->flags & kIgnoreMerges;
  recipe.nfc = row->flags & kNfc;
  return recipe;
}

std::string_view pre_tokenizer_name(const TokenizerSpec& spec) {
  const bool nfc =
      std::any_of(spec.normalizers.begin(), spec.normalizers.end(),
                  [](const NormalizerStep& step) { return step.kind == NormalizerStep::Kind::kNfc; });
  const auto is_pattern = [](const PreTokenizerStep& step, std::string_view pattern) {
    return step.pattern == pattern && step.behavior == PreTokenizerStep::Behavior::kIsolated &&
           !step.invert && !step.is_literal;
  };
  std::string_view name;
  for (const Row& row : kRows) {
    const bool same = std::equal(spec.pre_steps.begin(), spec.pre_steps.end(), row.patterns.begin(),
                                 row.patterns.end(), is_pattern) &&
                      spec.ignore_merges == ((row.flags & kIgnoreMerges) != 0);
    if (same && nfc == ((row.flags & kNfc) != 0)) return row.name;
    if (same && name.empty()) name = row.name;
  }
  return name;
}

std::vector<PreTokenizerStep> bert_pre_steps() {
  return {{.pattern = R"(\s+)", .behavior = PreTokenizerStep::Behavior::kRemoved},
          {.pattern = R"([!-/:-@\[-`{-~\p{P}])"}};
}

std::vector<NormalizerStep> bert_normalizers() {
  using Kind = NormalizerStep::Kind;
  std::vector<NormalizerStep> steps;
  for (const Kind kind :
       {Kind::kBertClean, Kind::kBertCjk, Kind::kNfd, Kind::kStripAccents, Kind::kLowercase}) {
    steps.push_back({.kind = kind});
  }
  return steps;
}

bool pre_tokenizer_adds_bos(std::string_view name) {
  const Row* row = find_row(name);
  return row != nullptr && (row->flags & kAddsBos) != 0;
}

}  // namespace tw::text
