// The tokenizer that a GGUF file carries in its tokenizer.ggml.* keys.
#pragma once

#include "io/gguf.h"
#include "text/tokenizer.h"

namespace tw::io {

/// Copies the vocabulary out of the file. Fails with kNotFound when there is none, kCorrupt when a key has a
/// wrong type or size, and kUnsupported for models other than gpt2, llama and bert.
base::Result<text::TokenizerSpec> tokenizer_spec(const GgufFile& file);

}  // namespace tw::io
