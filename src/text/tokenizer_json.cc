// tokenizer.json and tokenizer_config.json of Hugging Face's fast tokenizers.
#include <algorithm>

#include "text/tokenizer_json_parts.h"

namespace tw::text {
namespace json {

const base::Json& member(const base::Json& object, const char* key) {
  static const base::Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

base::Result<std::string> get_string(const base::Json& object, const char* key, std::string_view missing) {
  const base::Json& value = member(object, key);
  if (value.is_null()) return std::string(missing);
  if (const auto* text = value.get_ptr<const std::string*>()) return *text;
  return base::error(base::Code::kCorrupt, "tokenizer.json: \"{}\" of {} is no string", key, type_of(object));
}

base::Result<bool> get_bool(const base::Json& object, const char* key, bool missing) {
  const base::Json& value = member(object, key);
  if (value.is_null()) return missing;
  if (value.is_boolean()) return value.get<bool>();
  return base::error(base::Code::kCorrupt, "tokenizer.json: \"{}\" of {} is neither true nor false", key,
                     type_of(object));
}

base::Result<std::int64_t> get_int(const base::Json& object, const char* key, std::int64_t missing) {
  const base::Json& value = member(object, key);
  if (value.is_null()) return missing;
  if (value.is_number_integer()) return value.get<std::int64_t>();
  return base::error(base::Code::kCorrupt, "tokenizer.json: \"{}\" of {} is no whole number", key,
                     type_of(object));
}

std::string type_of(const base::Json& component) {
  const base::Json& type = member(component, "type");
  const auto* text = type.get_ptr<const std::string*>();
  return text == nullptr ? std::string() : *text;
}

base::Error unsupported(std::string_view what, std::string_view name) {
  return base::error(base::Code::kUnsupported, "tokenizer.json: the {} \"{}\" is not supported", what, name);
}

}  // namespace json

namespace {

/// A vocabulary that holds a space mark or byte tokens is SentencePiece's; without ByteLevel nothing else is
/// known.
base::Status choose_kind(const base::Json& model, const json::Traits& traits, TokenizerSpec& spec) {
  std::string type = json::type_of(model);
  if (type.empty()) type = model.contains("merges") ? "BPE" : "";
  if (type == "WordPiece") {
    spec.kind = TokenizerKind::kWordPiece;
    if (!traits.has_pre_tokenizer) return json::unsupported("WordPiece model without a", "pre_tokenizer");
    return base::Ok{};
  }
  if (type != "BPE") return json::unsupported("model", type);
  if (traits.byte_level && traits.marks_spaces) return json::unsupported("ByteLevel beside a", "Metaspace");
  if (!traits.byte_level && !traits.marks_spaces) {
    return json::unsupported("BPE model without ByteLevel or", "Metaspace");
  }
  spec.kind = traits.byte_level ? TokenizerKind::kBpe : TokenizerKind::kSentencePiece;
  if (spec.kind == TokenizerKind::kSentencePiece && !spec.pre_steps.empty()) {
    return json::unsupported("pre_tokenizer beside", "Metaspace");
  }
  return base::Ok{};
}

base::Status fill(const base::Json& root, const base::Json& config, TokenizerSpec& spec) {
  if (!root.is_object() || !json::member(root, "model").is_object()) {
    return base::error(base::Code::kCorrupt, "tokenizer.json has no \"model\"");
  }
  json::Traits traits;
  spec.add_space_prefix = false;
  TW_RETURN_IF_ERROR(json::read_normalizer(json::member(root, "normalizer"), spec, traits));
  TW_RETURN_IF_ERROR(json::read_pre_tokenizer(json::member(root, "pre_tokenizer"), spec, traits));
  TW_RETURN_IF_ERROR(json::read_decoder(json::member(root, "decoder"), spec, traits));
  TW_RETURN_IF_ERROR(choose_kind(root["model"], traits, spec));
  TW_RETURN_IF_ERROR(json::read_model(root["model"], traits, spec));
  TW_RETURN_IF_ERROR(json::read_added_tokens(json::member(root, "added_tokens"), spec));
  TW_RETURN_IF_ERROR(json::read_post_processor(json::member(root, "post_processor"), spec));
  spec.strip_leading_space = traits.strips_space;
  // The default of an empty list would be the table of GGUF's names.
  if (spec.kind == TokenizerKind::kBpe && spec.pre_steps.empty()) {
    spec.pre_steps.push_back({.pattern = R"([\s\S]+)", .behavior = PreTokenizerStep::Behavior::kIsolated});
  }
  return json::read_config(config, spec);
}

}  // namespace

base::Result<TokenizerSpec> parse_tokenizer_json(std::string_view tokenizer_json,
                                                 std::string_view tokenizer_config_json) {
  TW_ASSIGN_OR_RETURN(const base::Json root, base::parse_json(tokenizer_json));
  base::Json config;
  if (!tokenizer_config_json.empty()) {
    TW_ASSIGN_OR_RETURN(config, base::parse_json(tokenizer_config_json));
  }
  TokenizerSpec spec;
  TW_RETURN_IF_ERROR(fill(root, config, spec));
  return spec;
}

}  // namespace tw::text
