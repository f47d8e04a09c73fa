// A tokenizer as GGUF metadata: the other direction of gguf_tokenizer.h.
#pragma once

#include "io/gguf_write.h"
#include "text/tokenizer.h"

namespace tw::io {

/// The keys tokenizer.ggml.*, with tokens named [PADn] up to `vocab`, since readers want one for each row of
/// the embedding table. Fails with kUnsupported, naming what GGUF cannot say: a pre-tokenizer that has no
/// name there, tokens around each text other than BOS and EOS, merges that no scores could give.
base::Result<GgufWriteMetadata> tokenizer_metadata(const text::TokenizerSpec& spec, std::int64_t vocab);

}  // namespace tw::io
