#include "text/tokenizer_json_write.h"

#include "base/json.h"
#include "text/pretokenizer_table.h"

namespace tw::text {
namespace {

using base::OrderedJson;

TokenType type_of(const TokenizerSpec& spec, std::size_t id) {
  return spec.types.empty() ? TokenType::kNormal : spec.types[id];
}

const char* name_of(PreTokenizerStep::Behavior behavior) {
  using Behavior = PreTokenizerStep::Behavior;
  switch (behavior) {
    case Behavior::kIsolated:
      return "Isolated";
    case Behavior::kRemoved:
      return "Removed";
    case Behavior::kMergedWithPrevious:
      return "MergedWithPrevious";
    case Behavior::kMergedWithNext:
      return "MergedWithNext";
    case Behavior::kContiguous:
      return "Contiguous";
  }
  return "Isolated";
}

/// The steps as Splits, then the bytes' alphabet.
OrderedJson pre_tokenizer(const TokenizerSpec& spec) {
  const std::vector<PreTokenizerStep> steps =
      spec.pre_steps.empty() ? pre_tokenizer_recipe(spec.pre).steps : spec.pre_steps;
  OrderedJson list = OrderedJson::array();
  for (const PreTokenizerStep& step : steps) {
    list.push_back({{"type", "Split"},
                    {"pattern", {{step.is_literal ? "String" : "Regex", step.pattern}}},
                    {"behavior", name_of(step.behavior)},
                    {"invert", step.invert}});
  }
  list.push_back({{"type", "ByteLevel"},
                  {"add_prefix_space", spec.add_prefix_space},
                  {"trim_offsets", true},
                  {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", list}};
}

OrderedJson added_tokens(const TokenizerSpec& spec) {
  std::vector<AddedToken> added = spec.added;
  for (std::size_t id = 0; id < spec.tokens.size() && spec.added.empty(); ++id) {
    const TokenType type = type_of(spec, id);
    if (type != TokenType::kControl && type != TokenType::kUserDefined) continue;
    added.push_back(
        {.id = static_cast<TokenId>(id), .text = spec.tokens[id], .special = type == TokenType::kControl});
  }
  OrderedJson list = OrderedJson::array();
  for (const AddedToken& token : added) {
    list.push_back({{"id", token.id},
                    {"content", token.text},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

OrderedJson model(const TokenizerSpec& spec) {
  OrderedJson vocab = OrderedJson::object();
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    if (type_of(spec, id) != TokenType::kUnused) vocab[spec.tokens[id]] = id;
  }
  OrderedJson merges = OrderedJson::array();
  for (const std::string& merge : spec.merges) {
    const std::size_t space = merge.find(' ');
    merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges",
           spec.ignore_merges || (spec.pre_steps.empty() && pre_tokenizer_recipe(spec.pre).ignore_merges)},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

/// What stands around every text, by name; null if nothing does.
OrderedJson post_processor(const TokenizerSpec& spec) {
  std::vector<TokenId> before, after;
  if (spec.add_bos && spec.bos) before.push_back(*spec.bos);
  if (spec.add_eos && spec.eos) after.push_back(*spec.eos);
  before = spec.prefix.value_or(before);
  after = spec.suffix.value_or(after);
  if (before.empty() && after.empty()) return nullptr;
  OrderedJson single = OrderedJson::array(), pair, special = OrderedJson::object();
  const auto put = [&](const std::vector<TokenId>& ids) {
    for (const TokenId id : ids) {
      const std::string& token = spec.tokens[static_cast<std::size_t>(id)];
      single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
      special[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
    }
  };
  const auto sequence = [](const char* id) {
    return OrderedJson{{"Sequence", {{"id", id}, {"type_id", 0}}}};
  };
  put(before);
  single.push_back(sequence("A"));
  put(after);
  pair = single;
  pair.push_back(sequence("B"));
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

base::Result<OrderedJson> normalizer(const TokenizerSpec& spec) {
  bool nfc = spec.pre_steps.empty() && pre_tokenizer_recipe(spec.pre).nfc;
  for (const NormalizerStep& step : spec.normalizers) {
    if (step.kind != NormalizerStep::Kind::kNfc) {
      return base::error(base::Code::kUnsupported,
                         "a tokenizer with normalizers beyond NFC cannot be written as tokenizer.json");
    }
    nfc = true;
  }
  return nfc ? OrderedJson{{"type", "NFC"}} : OrderedJson(nullptr);
}

}  // namespace

base::Result<std::string> tokenizer_json(const TokenizerSpec& spec) {
  if (spec.kind != TokenizerKind::kBpe) {
    return base::error(base::Code::kUnsupported,
                       "only a byte-level BPE tokenizer can be written as tokenizer.json");
  }
  TW_ASSIGN_OR_RETURN(const OrderedJson normal, normalizer(spec));
  const OrderedJson byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const OrderedJson root = {{"version", "1.0"},
                            {"truncation", nullptr},
                            {"padding", nullptr},
                            {"added_tokens", added_tokens(spec)},
                            {"normalizer", normal},
                            {"pre_tokenizer", pre_tokenizer(spec)},
                            {"post_processor", post_processor(spec)},
                            {"decoder", byte_level},
                            {"model", model(spec)}};
  return base::dump_json(root) + "\n";
}

std::string tokenizer_config_json(const TokenizerSpec& spec, std::int64_t context,
                                  const std::string& chat_template) {
  OrderedJson root = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"clean_up_tokenization_spaces", false},
                      {"model_max_length", context}};
  const std::pair<const char*, std::optional<TokenId>> named[] = {
      {"bos_token", spec.bos}, {"eos_token", spec.eos}, {"unk_token", spec.unk}, {"pad_token", spec.pad}};
  for (const auto& [key, id] : named) {
    if (id) root[key] = spec.tokens[static_cast<std::size_t>(*id)];
  }
  if (!chat_template.empty()) root["chat_template"] = chat_template;
  return base::dump_json(root) + "\n";
}

}  // namespace tw::text
