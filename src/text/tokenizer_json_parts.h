// The components of a tokenizer.json, each read into its place in a TokenizerSpec.
#pragma once

#include "base/json.h"
#include "text/tokenizer.h"

namespace tw::text::json {

/// The value of a key, or null when it is missing. Never throws.
const base::Json& member(const base::Json& object, const char* key);
/// The values of a component, or what is missing stands for. kCorrupt, naming the key, for another type.
base::Result<std::string> get_string(const base::Json& object, const char* key, std::string_view missing);
base::Result<bool> get_bool(const base::Json& object, const char* key, bool missing);
base::Result<std::int64_t> get_int(const base::Json& object, const char* key, std::int64_t missing);
/// "type" of a component; empty if there is none.
std::string type_of(const base::Json& component);
base::Error unsupported(std::string_view what, std::string_view name);

/// What the pre-tokenizer and the decoder say about the kind of the model.
struct Traits {
  bool byte_level = false;    ///< a ByteLevel pre-tokenizer
  bool marks_spaces = false;  ///< a Metaspace, or a Replace of " " by "▁"
  bool word_decoder = false;  ///< a WordPiece decoder
  bool strips_space = false;  ///< the decoder drops the first space
  bool has_pre_tokenizer = false;
};

/// Adds "normalizer" to spec.normalizers, but for the steps that make the spaces of SentencePiece.
base::Status read_normalizer(const base::Json& normalizer, TokenizerSpec& spec, Traits& traits);
/// Adds "pre_tokenizer" to spec.pre_steps and the options about spaces.
base::Status read_pre_tokenizer(const base::Json& pre_tokenizer, TokenizerSpec& spec, Traits& traits);
/// Sets prefix and suffix.
base::Status read_post_processor(const base::Json& post_processor, TokenizerSpec& spec);
base::Status read_decoder(const base::Json& decoder, TokenizerSpec& spec, Traits& traits);
/// Vocabulary, merges and options of "model".
base::Status read_model(const base::Json& model, const Traits& traits, TokenizerSpec& spec);
base::Status read_added_tokens(const base::Json& added, TokenizerSpec& spec);
/// tokenizer_config.json: the named tokens, and whether BOS and EOS are added.
base::Status read_config(const base::Json& config, TokenizerSpec& spec);

}  // namespace tw::text::json
