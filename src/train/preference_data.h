// Preferences as token files: pairs of sequences of one prompt, of which the answers are learnt.
#pragma once

#include "train/chat_data.h"

namespace tw::train {

struct PreferencePair {
  ChatSample chosen, rejected;
};

/// {"prompt": ..., "chosen": ..., "rejected": ...}: three texts, each answer closed by EOS, or as TRL's
/// conversational format has them three lists of messages, each answer one of the assistant's, in the words
/// of the chat template (null: the model has none). Fails with kCorrupt for what is neither.
base::Result<PreferencePair> preference_pair(const base::OrderedJson& line, const text::Tokenizer& tokenizer,
                                             const text::ChatTemplate* chat_template);

/// A token file with a mask of all lines of the corpus: of each line first the chosen, then the rejected
/// sequence. As tokenize_chats. `chat_template` may be empty.
base::Result<TokenFile> tokenize_preferences(const Corpus& corpus, const CorpusTokenizer& with,
                                             const std::string& chat_template, const std::string& path,
                                             const TokenizeOptions& options);

}  // namespace tw::train
