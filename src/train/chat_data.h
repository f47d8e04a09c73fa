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

/// A conversation of which only the last message, the assistant's, is learnt. `tools` may be null. Fails with
/// kCorrupt when it does not go into the template.
base::Result<ChatSample> last_answer(const base::OrderedJson& messages, const base::OrderedJson& tools,
                                     const text::Tokenizer& tokenizer,
                                     const text::ChatTemplate& chat_template);

/// A list of messages with roles, whose contents are texts, nothing, or lists of OpenAI's parts, which become
/// texts. Fails with kCorrupt, naming the message, for what is not, and for parts that are no text.
base::Result<base::OrderedJson> plain_messages(base::OrderedJson messages);

/// A token file with a mask of all lines of the corpus, which may hold .jsonl files only; `add` adds a line's
/// documents. Errors name FILE:LINE. Reuses the file as tokenize_corpus does.
using AddLine = std::function<base::Status(const base::OrderedJson& line, TokenFileWriter& writer)>;
base::Result<TokenFile> tokenize_lines(const Corpus& corpus, const CorpusTokenizer& with,
                                       const std::string& path, const std::string& kind,
                                       const TokenizeOptions& options, const AddLine& add);

/// The same of conversations.
base::Result<TokenFile> tokenize_chats(const Corpus& corpus, const CorpusTokenizer& with,
                                       const text::ChatTemplate& chat_template,
                                       const std::string& template_sha256, const std::string& path,
                                       const TokenizeOptions& options);

}  // namespace tw::train
