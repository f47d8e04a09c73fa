// Conversations as token files: in the words of the model's chat template, learning only what the assistant
// says.
#pragma once

#include <vector>

#include "text/chat_template.h"
#include "train/tokenize_corpus.h"

namespace tw::train {

/// One sequence to learn from.
struct ChatSample {
  std::vector<text::TokenId> ids;
  std::vector<std::uint8_t> learnt;  ///< 1: a token of the assistant's
};

/// {"messages": [{"role": ..., "content": ...}, ...], "tools": [...]}: one sample. Where the template writes
/// earlier turns otherwise once there are later ones (it drops their thoughts, say), one sample a turn of the
/// assistant, each the prompt that serving would make and its answer. The ids are those that serving has:
/// each prompt encoded on its own. Fails with kCorrupt for what is no conversation, holds nothing to learn,
/// or does not go into the template.
base::Result<std::vector<ChatSample>> chat_samples(const base::OrderedJson& line,
                                                   const text::Tokenizer& tokenizer,
                                                   const text::ChatTemplate& chat_template);

/// A token file with a mask of all lines of the corpus, which may hold .jsonl files only; errors name
/// FILE:LINE. Reuses the file as tokenize_corpus does.
base::Result<TokenFile> tokenize_chats(const Corpus& corpus, const CorpusTokenizer& with,
                                       const text::ChatTemplate& chat_template,
                                       const std::string& template_sha256, const std::string& path,
                                       const TokenizeOptions& options);

}  // namespace tw::train
