#include "text/pretokenizer_table.h"

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
/// The letters here are those of cased scripts, as the model's file lists them.
constexpr std::string_view kDeepseekLlm[] = {
    R"([\r\n])",
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)",
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
    {"starcoder", kGpt2Digits},
    {"refact", kGpt2Digits},
    {"command-r", kGpt2Digits},
    {"smollm", kGpt2Digits},
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
