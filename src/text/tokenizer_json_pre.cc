// "normalizer", "pre_tokenizer" and "decoder".
#include "text/pretokenizer_table.h"
#include "text/tokenizer_json_parts.h"

namespace tw::text::json {
namespace {

using base::Code;
using base::error;
using base::Json;
using Behavior = PreTokenizerStep::Behavior;
using Kind = NormalizerStep::Kind;

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";
constexpr int kMaxDepth = 4;

/// "pattern": {"String": s} or {"Regex": r}.
struct Pattern {
  std::string text;
  bool is_regex = false;
};

base::Status read_pattern(const Json& component, Pattern& out) {
  const Json& pattern = member(component, "pattern");
  TW_ASSIGN_OR_RETURN(const std::string plain, get_string(pattern, "String", ""));
  TW_ASSIGN_OR_RETURN(const std::string regex, get_string(pattern, "Regex", ""));
  if (plain.empty() && regex.empty()) {
    return error(Code::kCorrupt, "tokenizer.json: {} has no pattern", type_of(component));
  }
  out.text = plain.empty() ? regex : plain;
  out.is_regex = plain.empty();
  return base::Ok{};
}

base::Result<Behavior> read_behavior(const Json& component, Behavior missing) {
  TW_ASSIGN_OR_RETURN(const std::string name, get_string(component, "behavior", ""));
  if (name.empty()) return missing;
  constexpr std::pair<std::string_view, Behavior> kNames[] = {
      {"Isolated", Behavior::kIsolated},
      {"Removed", Behavior::kRemoved},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  return unsupported("behavior", name);
}

base::Status read_replace(const Json& step, TokenizerSpec& spec, Traits& traits) {
  Pattern pattern;
  TW_RETURN_IF_ERROR(read_pattern(step, pattern));
  TW_ASSIGN_OR_RETURN(std::string content, get_string(step, "content", ""));
  if (pattern.text == " " && content == kSpaceMark) {
    traits.marks_spaces = true;
    return base::Ok{};
  }
  spec.normalizers.push_back({Kind::kReplace, std::move(pattern.text), std::move(content), pattern.is_regex});
  return base::Ok{};
}

base::Status read_prepend(const Json& step, TokenizerSpec& spec) {
  TW_ASSIGN_OR_RETURN(std::string text, get_string(step, "prepend", ""));
  if (text == kSpaceMark) {
    spec.add_space_prefix = true;
  } else {
    spec.normalizers.push_back({.kind = Kind::kPrepend, .content = std::move(text)});
  }
  return base::Ok{};
}

base::Status read_bert(const Json& step, TokenizerSpec& spec) {
  TW_ASSIGN_OR_RETURN(const bool clean, get_bool(step, "clean_text", true));
  TW_ASSIGN_OR_RETURN(const bool cjk, get_bool(step, "handle_chinese_chars", true));
  TW_ASSIGN_OR_RETURN(const bool lowercase, get_bool(step, "lowercase", true));
  TW_ASSIGN_OR_RETURN(const bool accents, get_bool(step, "strip_accents", lowercase));
  const std::pair<bool, Kind> steps[] = {{clean, Kind::kBertClean},
                                         {cjk, Kind::kBertCjk},
                                         {accents, Kind::kNfd},
                                         {accents, Kind::kStripAccents},
                                         {lowercase, Kind::kLowercase}};
  for (const auto& [wanted, kind] : steps) {
    if (wanted) spec.normalizers.push_back({.kind = kind});
  }
  return base::Ok{};
}

base::Status read_normalizer_step(const Json& step, TokenizerSpec& spec, Traits& traits, int depth) {
  const std::string type = type_of(step);
  if (traits.marks_spaces && type != "Sequence") return unsupported("normalizer after the space marks", type);
  if (type == "Replace") return read_replace(step, spec, traits);
  if (type == "Prepend") return read_prepend(step, spec);
  if (type == "BertNormalizer") return read_bert(step, spec);
  if (type == "Strip") {
    NormalizerStep strip{.kind = Kind::kStrip};
    TW_ASSIGN_OR_RETURN(strip.left, get_bool(step, "strip_left", true));
    TW_ASSIGN_OR_RETURN(strip.right, get_bool(step, "strip_right", true));
    spec.normalizers.push_back(std::move(strip));
    return base::Ok{};
  }
  constexpr std::pair<std::string_view, Kind> kPlain[] = {{"NFC", Kind::kNfc},
                                                          {"NFD", Kind::kNfd},
                                                          {"Lowercase", Kind::kLowercase},
                                                          {"StripAccents", Kind::kStripMarks}};
  for (const auto& [name, kind] : kPlain) {
    if (type != name) continue;
    spec.normalizers.push_back({.kind = kind});
    return base::Ok{};
  }
  if (type != "Sequence" || depth > kMaxDepth) return unsupported("normalizer", type);
  for (const Json& part : member(step, "normalizers")) {
    TW_RETURN_IF_ERROR(read_normalizer_step(part, spec, traits, depth + 1));
  }
  return base::Ok{};
}

base::Status read_split(const Json& step, TokenizerSpec& spec, const Traits& traits) {
  Pattern pattern;
  TW_RETURN_IF_ERROR(read_pattern(step, pattern));
  // Gemma cuts at spaces that its normalizer has replaced before: nothing is left to cut at.
  if (traits.marks_spaces && !pattern.is_regex && pattern.text == " ") return base::Ok{};
  PreTokenizerStep made{.pattern = std::move(pattern.text), .is_literal = !pattern.is_regex};
  TW_ASSIGN_OR_RETURN(made.behavior, read_behavior(step, Behavior::kIsolated));
  TW_ASSIGN_OR_RETURN(made.invert, get_bool(step, "invert", false));
  spec.pre_steps.push_back(std::move(made));
  return base::Ok{};
}

base::Status read_byte_level(const Json& step, TokenizerSpec& spec, Traits& traits) {
  TW_ASSIGN_OR_RETURN(const bool use_regex, get_bool(step, "use_regex", true));
  TW_ASSIGN_OR_RETURN(spec.add_prefix_space, get_bool(step, "add_prefix_space", true));
  if (spec.add_prefix_space && !spec.pre_steps.empty()) {
    return unsupported("pre_tokenizer before ByteLevel with", "add_prefix_space");
  }
  if (use_regex) spec.pre_steps.push_back({.pattern = std::string(kGpt2Pattern)});
  traits.byte_level = true;
  return base::Ok{};
}

base::Status read_metaspace(const Json& step, TokenizerSpec& spec, Traits& traits) {
  TW_ASSIGN_OR_RETURN(const std::string mark, get_string(step, "replacement", kSpaceMark));
  if (mark != kSpaceMark) return unsupported("Metaspace replacement", mark);
  TW_ASSIGN_OR_RETURN(const bool prefix_space, get_bool(step, "add_prefix_space", true));
  TW_ASSIGN_OR_RETURN(const std::string scheme,
                      get_string(step, "prepend_scheme", prefix_space ? "always" : "never"));
  if (scheme != "always" && scheme != "first" && scheme != "never")
    return unsupported("prepend_scheme", scheme);
  TW_ASSIGN_OR_RETURN(spec.split_at_spaces, get_bool(step, "split", true));
  spec.add_space_prefix = scheme != "never";
  spec.space_prefix_first_only = scheme == "first";
  spec.space_prefix_if_missing = true;
  traits.marks_spaces = true;
  return base::Ok{};
}

base::Status read_digits(const Json& step, TokenizerSpec& spec) {
  TW_ASSIGN_OR_RETURN(const bool individual, get_bool(step, "individual_digits", false));
  spec.pre_steps.push_back({.pattern = std::string(kDigitPattern) + (individual ? "" : "+")});
  return base::Ok{};
}

base::Status read_punctuation(const Json& step, TokenizerSpec& spec) {
  PreTokenizerStep made = bert_pre_steps()[1];
  TW_ASSIGN_OR_RETURN(made.behavior, read_behavior(step, Behavior::kIsolated));
  spec.pre_steps.push_back(std::move(made));
  return base::Ok{};
}

base::Status read_pre_step(const Json& step, TokenizerSpec& spec, Traits& traits, int depth) {
  const std::string type = type_of(step);
  if (traits.byte_level) return unsupported("pre_tokenizer after ByteLevel", type);
  if (type == "Split") return read_split(step, spec, traits);
  if (type == "ByteLevel") return read_byte_level(step, spec, traits);
  if (type == "Metaspace") return read_metaspace(step, spec, traits);
  if (type == "Digits") return read_digits(step, spec);
  if (type == "Punctuation") return read_punctuation(step, spec);
  if (type == "BertPreTokenizer") {
    for (PreTokenizerStep& made : bert_pre_steps()) spec.pre_steps.push_back(std::move(made));
    return base::Ok{};
  }
  if (type == "WhitespaceSplit") {
    spec.pre_steps.push_back(bert_pre_steps()[0]);
    return base::Ok{};
  }
  if (type == "Whitespace") {
    spec.pre_steps.push_back(
        {.pattern =
             R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\s]+)",
         .behavior = Behavior::kRemoved,
         .invert = true});
    return base::Ok{};
  }
  if (type != "Sequence" || depth > kMaxDepth) return unsupported("pre_tokenizer", type);
  for (const Json& part : member(step, "pretokenizers")) {
    TW_RETURN_IF_ERROR(read_pre_step(part, spec, traits, depth + 1));
  }
  return base::Ok{};
}

base::Status read_decoder_step(const Json& step, TokenizerSpec& spec, Traits& traits, int depth) {
  const std::string type = type_of(step);
  if (type == "ByteLevel" || type == "ByteFallback" || type == "Fuse" || type == "Replace") return base::Ok{};
  if (type == "Strip") {
    TW_ASSIGN_OR_RETURN(const std::string content, get_string(step, "content", ""));
    TW_ASSIGN_OR_RETURN(const std::int64_t start, get_int(step, "start", 0));
    TW_ASSIGN_OR_RETURN(const std::int64_t stop, get_int(step, "stop", 0));
    if (content != " " || start > 1 || stop != 0)
      return unsupported("decoder", "Strip of more than one space");
    traits.strips_space = start == 1;
    return base::Ok{};
  }
  if (type == "Metaspace") {
    TW_ASSIGN_OR_RETURN(const bool prefix_space, get_bool(step, "add_prefix_space", true));
    TW_ASSIGN_OR_RETURN(const std::string scheme,
                        get_string(step, "prepend_scheme", prefix_space ? "always" : "never"));
    traits.strips_space = scheme != "never";
    return base::Ok{};
  }
  if (type == "WordPiece") {
    TW_ASSIGN_OR_RETURN(spec.join_punctuation, get_bool(step, "cleanup", true));
    traits.strips_space = traits.word_decoder = true;
    return base::Ok{};
  }
  if (type != "Sequence" || depth > kMaxDepth) return unsupported("decoder", type);
  for (const Json& part : member(step, "decoders")) {
    TW_RETURN_IF_ERROR(read_decoder_step(part, spec, traits, depth + 1));
  }
  return base::Ok{};
}

}  // namespace

base::Status read_normalizer(const Json& normalizer, TokenizerSpec& spec, Traits& traits) {
  return normalizer.is_null() ? base::Status(base::Ok{}) : read_normalizer_step(normalizer, spec, traits, 0);
}

base::Status read_pre_tokenizer(const Json& pre_tokenizer, TokenizerSpec& spec, Traits& traits) {
  traits.has_pre_tokenizer = !pre_tokenizer.is_null();
  return pre_tokenizer.is_null() ? base::Status(base::Ok{}) : read_pre_step(pre_tokenizer, spec, traits, 0);
}

base::Status read_decoder(const Json& decoder, TokenizerSpec& spec, Traits& traits) {
  return decoder.is_null() ? base::Status(base::Ok{}) : read_decoder_step(decoder, spec, traits, 0);
}

}  // namespace tw::text::json
