// Writes tokenizer.json and tokenizer_config.json for a byte-level BPE tokenizer, as Hugging Face's
// `tokenizers` and `transformers` read them.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace tw::text {

/// tokenizer.json. Fails with kUnsupported for what is no byte-level BPE or has normalizers beyond NFC.
base::Result<std::string> tokenizer_json(const TokenizerSpec& spec);

/// tokenizer_config.json: the named tokens, the longest sequence and the chat template (none if empty).
std::string tokenizer_config_json(const TokenizerSpec& spec, std::int64_t context,
                                  const std::string& chat_template);

}  // namespace tw::text
