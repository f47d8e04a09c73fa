// "model", "added_tokens", "post_processor" and tokenizer_config.json.
#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "text/tokenizer_json_parts.h"

namespace tw::text::json {
namespace {

using base::Code;
using base::error;
using base::Json;

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";
/// Ids may leave gaps, but not so that a small file makes a huge table.
constexpr std::int64_t kMaxGap = 1 << 16;

const std::string* text_of(const Json& value) {
  return value.get_ptr<const std::string*>();
}

base::Status set_token(TokenizerSpec& spec, std::int64_t id, const std::string& text, TokenType type,
                       std::int64_t limit) {
  if (id < 0 || id >= limit) {
    return error(Code::kCorrupt, "tokenizer.json: token \"{}\" has the id {}; ids below {} are expected",
                 text, id, limit);
  }
  const auto index = static_cast<std::size_t>(id);
  if (index >= spec.tokens.size()) {
    spec.tokens.resize(index + 1);
    spec.types.resize(index + 1, TokenType::kUnused);
  }
  spec.tokens[index] = text;
  spec.types[index] = type;
  return base::Ok{};
}

std::optional<TokenId> find_token(const TokenizerSpec& spec, std::string_view text) {
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    if (spec.tokens[id] == text && spec.types[id] != TokenType::kUnused) return static_cast<TokenId>(id);
  }
  return std::nullopt;
}

bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text[5] == '>' &&
         text.substr(3, 2).find_first_not_of("0123456789ABCDEFabcdef") == std::string_view::npos;
}

base::Status read_vocabulary(const Json& vocab, bool byte_tokens, TokenizerSpec& spec) {
  if (!vocab.is_object()) return error(Code::kCorrupt, "tokenizer.json: the model's \"vocab\" is no object");
  const auto limit = static_cast<std::int64_t>(vocab.size()) + kMaxGap;
  for (auto item = vocab.begin(); item != vocab.end(); ++item) {
    if (!item->is_number_integer()) {
      return error(Code::kCorrupt, "tokenizer.json: token \"{}\" has no whole number as its id", item.key());
    }
    const TokenType type = byte_tokens && is_byte_token(item.key()) ? TokenType::kByte : TokenType::kNormal;
    TW_RETURN_IF_ERROR(set_token(spec, item->get<std::int64_t>(), item.key(), type, limit));
  }
  return base::Ok{};
}

base::Status read_merge(const Json& merge, TokenizerSpec& spec) {
  if (const std::string* text = text_of(merge)) {
    spec.merges.push_back(*text);
    return base::Ok{};
  }
  const bool is_pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
  if (!is_pair)
    return error(Code::kCorrupt, "tokenizer.json: merge {} is not two tokens", spec.merges.size());
  const std::string& left = *text_of(merge[0]);
  const std::string& right = *text_of(merge[1]);
  if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos) {
    return unsupported("merge of tokens that hold a space,", left + "\", \"" + right);
  }
  spec.merges.push_back(left + " " + right);
  return base::Ok{};
}

base::Status read_unk(const Json& model, TokenizerSpec& spec) {
  TW_ASSIGN_OR_RETURN(const std::string unk, get_string(model, "unk_token", ""));
  if (unk.empty()) return base::Ok{};
  spec.unk = find_token(spec, unk);
  if (!spec.unk)
    return error(Code::kCorrupt, "tokenizer.json: unk_token \"{}\" is not in the vocabulary", unk);
  return base::Ok{};
}

base::Status read_bpe(const Json& model, TokenizerSpec& spec) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    TW_ASSIGN_OR_RETURN(const std::string affix, get_string(model, key, ""));
    if (!affix.empty()) return unsupported("BPE option", key);
  }
  if (const Json& dropout = member(model, "dropout"); dropout.is_number() && dropout.get<double>() != 0) {
    return unsupported("BPE option", "dropout");
  }
  TW_ASSIGN_OR_RETURN(spec.byte_fallback, get_bool(model, "byte_fallback", false));
  TW_ASSIGN_OR_RETURN(spec.fuse_unk, get_bool(model, "fuse_unk", false));
  TW_ASSIGN_OR_RETURN(spec.ignore_merges, get_bool(model, "ignore_merges", false));
  TW_RETURN_IF_ERROR(read_vocabulary(member(model, "vocab"), spec.byte_fallback, spec));
  const Json& merges = member(model, "merges");
  if (!merges.is_array()) return error(Code::kCorrupt, "tokenizer.json: the model's \"merges\" is no array");
  for (const Json& merge : merges) TW_RETURN_IF_ERROR(read_merge(merge, spec));
  // No scores either: without merges nothing merges.
  if (merges.empty()) spec.scores.assign(spec.tokens.size(), 0);
  return read_unk(model, spec);
}

/// "##ing" becomes "ing" and "the" becomes "▁the": GGUF's spelling.
base::Status read_wordpiece(const Json& model, TokenizerSpec& spec) {
  TW_ASSIGN_OR_RETURN(const std::string prefix, get_string(model, "continuing_subword_prefix", "##"));
  if (prefix.empty()) return unsupported("WordPiece option", "continuing_subword_prefix of length 0");
  TW_ASSIGN_OR_RETURN(const std::int64_t max_chars, get_int(model, "max_input_chars_per_word", 100));
  if (max_chars < 1 || max_chars > 1 << 20) {
    return error(Code::kCorrupt, "tokenizer.json: max_input_chars_per_word is {}", max_chars);
  }
  spec.max_word_chars = static_cast<int>(max_chars);
  TW_RETURN_IF_ERROR(read_vocabulary(member(model, "vocab"), false, spec));
  TW_RETURN_IF_ERROR(read_unk(model, spec));
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    std::string& token = spec.tokens[id];
    if (spec.types[id] == TokenType::kUnused) continue;
    token = token.starts_with(prefix) ? token.substr(prefix.size()) : std::string(kSpaceMark) + token;
  }
  return base::Ok{};
}

base::Result<AddedToken> read_added_token(const Json& item) {
  AddedToken token;
  TW_ASSIGN_OR_RETURN(const std::int64_t id, get_int(item, "id", -1));
  if (id < 0 || id > std::numeric_limits<TokenId>::max()) {
    return error(Code::kCorrupt, "tokenizer.json: an added token has the id {}", id);
  }
  token.id = static_cast<TokenId>(id);
  TW_ASSIGN_OR_RETURN(token.text, get_string(item, "content", ""));
  TW_ASSIGN_OR_RETURN(token.special, get_bool(item, "special", false));
  TW_ASSIGN_OR_RETURN(token.single_word, get_bool(item, "single_word", false));
  TW_ASSIGN_OR_RETURN(token.lstrip, get_bool(item, "lstrip", false));
  TW_ASSIGN_OR_RETURN(token.rstrip, get_bool(item, "rstrip", false));
  TW_ASSIGN_OR_RETURN(token.normalized, get_bool(item, "normalized", !token.special));
  return token;
}

base::Status read_template_side(const Json& processor, TokenizerSpec& spec) {
  const Json& single = member(processor, "single");
  if (!single.is_array())
    return error(Code::kCorrupt, "tokenizer.json: TemplateProcessing has no \"single\"");
  bool after = false;
  for (const Json& part : single) {
    if (!member(part, "Sequence").is_null()) {
      if (after) return unsupported("TemplateProcessing with", "two sequences");
      after = true;
      continue;
    }
    const Json& name = member(member(part, "SpecialToken"), "id");
    const Json& ids = name.is_string()
                          ? member(member(member(processor, "special_tokens"), text_of(name)->c_str()), "ids")
                          : name;
    if (!ids.is_array())
      return error(Code::kCorrupt, "tokenizer.json: TemplateProcessing names an unknown token");
    for (const Json& id : ids) {
      if (!id.is_number_integer())
        return error(Code::kCorrupt, "tokenizer.json: a template's token id is no number");
      const auto value = id.get<std::int64_t>();
      if (value < 0 || value >= static_cast<std::int64_t>(spec.tokens.size())) {
        return error(Code::kCorrupt, "tokenizer.json: the template's token {} is not in the vocabulary",
                     value);
      }
      (after ? spec.suffix : spec.prefix)->push_back(static_cast<TokenId>(value));
    }
  }
  return base::Ok{};
}

/// BertProcessing and RobertaProcessing: ["[SEP]", 102].
base::Status read_pair(const Json& processor, const char* key, const TokenizerSpec& spec,
                       std::vector<TokenId>& out) {
  const Json& pair = member(processor, key);
  const bool good = pair.is_array() && pair.size() == 2 && pair[1].is_number_integer() &&
                    pair[1].get<std::int64_t>() >= 0 &&
                    pair[1].get<std::int64_t>() < static_cast<std::int64_t>(spec.tokens.size());
  if (!good)
    return error(Code::kCorrupt, "tokenizer.json: \"{}\" of {} names no token", key, type_of(processor));
  out.push_back(pair[1].get<TokenId>());
  return base::Ok{};
}

base::Status read_processor(const Json& processor, TokenizerSpec& spec, int depth) {
  if (processor.is_null()) return base::Ok{};
  const std::string type = type_of(processor);
  if (type == "ByteLevel") return base::Ok{};  // changes offsets only
  if (type == "TemplateProcessing") return read_template_side(processor, spec);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    TW_RETURN_IF_ERROR(read_pair(processor, "cls", spec, *spec.prefix));
    return read_pair(processor, "sep", spec, *spec.suffix);
  }
  if (type != "Sequence" || depth > 4) return unsupported("post_processor", type);
  for (const Json& part : member(processor, "processors"))
    TW_RETURN_IF_ERROR(read_processor(part, spec, depth + 1));
  return base::Ok{};
}

/// A named token is a string, or an object with "content".
std::optional<TokenId> named_token(const Json& config, const char* key, const TokenizerSpec& spec) {
  const Json& value = member(config, key);
  const std::string* text = text_of(value.is_object() ? member(value, "content") : value);
  if (text == nullptr) return std::nullopt;
  const auto found = find_token(spec, *text);
  return found || spec.kind != TokenizerKind::kWordPiece ? found
                                                         : find_token(spec, std::string(kSpaceMark) + *text);
}

}  // namespace

base::Status read_model(const Json& model, const Traits&, TokenizerSpec& spec) {
  return spec.kind == TokenizerKind::kWordPiece ? read_wordpiece(model, spec) : read_bpe(model, spec);
}

base::Status read_added_tokens(const Json& added, TokenizerSpec& spec) {
  if (added.is_null()) return base::Ok{};
  if (!added.is_array()) return error(Code::kCorrupt, "tokenizer.json: \"added_tokens\" is no array");
  const auto limit = static_cast<std::int64_t>(spec.tokens.size() + added.size()) + kMaxGap;
  std::map<TokenId, AddedToken> firsts;
  for (const Json& item : added) {
    TW_ASSIGN_OR_RETURN(AddedToken token, read_added_token(item));
    const AddedToken& first = firsts.try_emplace(token.id, token).first->second;
    if (first.text != token.text) {  // the text of one would give the other, which may be a control token
      return error(Code::kCorrupt, "tokenizer.json: \"added_tokens\": id {} is both \"{}\" and \"{}\"",
                   token.id, first.text, token.text);
    }
    if (first.special != token.special) {  // plain text would give what is a control token by the other
      return error(Code::kCorrupt, "tokenizer.json: \"added_tokens\": id {} (\"{}\") is both special and not",
                   token.id, token.text);
    }
    const TokenType type = token.special ? TokenType::kControl : TokenType::kUserDefined;
    TW_RETURN_IF_ERROR(set_token(spec, token.id, token.text, type, limit));
    // The marks that SentencePiece makes of spaces are no step of ours: its tokens are looked for in the raw
    // text.
    if (spec.kind == TokenizerKind::kSentencePiece) token.normalized = false;
    spec.added.push_back(std::move(token));
  }
  if (!spec.scores.empty()) spec.scores.resize(spec.tokens.size(), 0);
  return base::Ok{};
}

base::Status read_post_processor(const Json& post_processor, TokenizerSpec& spec) {
  spec.prefix.emplace();
  spec.suffix.emplace();
  return read_processor(post_processor, spec, 0);
}

base::Status read_config(const Json& config, TokenizerSpec& spec) {
  const std::pair<const char*, std::optional<TokenId>*> named[] = {
      {"bos_token", &spec.bos}, {"eos_token", &spec.eos}, {"pad_token", &spec.pad},  {"sep_token", &spec.sep},
      {"cls_token", &spec.cls}, {"unk_token", &spec.unk}, {"mask_token", &spec.mask}};
  for (const auto& [key, id] : named) {
    if (const auto found = named_token(config, key, spec)) *id = found;
  }
  // Without names, what a template puts around the text tells.
  if (!spec.bos && config.is_null() && spec.prefix->size() == 1) spec.bos = spec.prefix->front();
  if (!spec.eos && config.is_null() && spec.suffix->size() == 1) spec.eos = spec.suffix->front();
  const std::string tokenizer_class =
      member(config, "tokenizer_class").is_string() ? *text_of(member(config, "tokenizer_class")) : "";
  // Only these classes rebuild their template from the flags; for the others the template counts.
  const bool by_flags = tokenizer_class.find("Llama") != std::string::npos ||
                        tokenizer_class.find("Gemma") != std::string::npos;
  const auto apply = [&](const char* key, const std::optional<TokenId>& id, std::vector<TokenId>& around) {
    const Json& flag = member(config, key);
    if (!by_flags || !flag.is_boolean() || !id) return;
    const bool there = std::find(around.begin(), around.end(), *id) != around.end();
    if (flag.get<bool>() && !there) around.push_back(*id);
    if (!flag.get<bool>() && there) std::erase(around, *id);
  };
  apply("add_bos_token", spec.bos, *spec.prefix);
  apply("add_eos_token", spec.eos, *spec.suffix);
  spec.add_bos = spec.bos && !spec.prefix->empty() && spec.prefix->front() == *spec.bos;
  spec.add_eos = spec.eos && !spec.suffix->empty() && spec.suffix->back() == *spec.eos;
  return base::Ok{};
}

}  // namespace tw::text::json
