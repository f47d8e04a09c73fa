#include "text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "text/bpe_byte_level.h"
#include "text/bpe_merge_search.h"
#include "text/pretokenizer_table.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;

constexpr int kMaxVocabulary = 1 << 22;

/// Tokens by id and ids by token, in byte-level spelling.
class Vocabulary {
 public:
  TokenId add(const std::string& token) {
    const auto [found, is_new] = ids_.try_emplace(token, static_cast<TokenId>(tokens_.size()));
    if (is_new) tokens_.push_back(token);
    return found->second;
  }
  std::size_t size() const { return tokens_.size(); }
  const std::string& operator[](std::size_t id) const { return tokens_[id]; }
  std::vector<std::string> take() { return std::move(tokens_); }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, TokenId> ids_;
};

base::Status check(const BpeTrainerOptions& options) {
  if (options.pre != "gpt-2" && options.pre != "smollm") {
    return error(Code::kInvalidArgument, "the pre-tokenizer is \"{}\", but must be gpt-2 or smollm",
                 options.pre);
  }
  if (options.special_tokens.empty()) {
    return error(Code::kInvalidArgument,
                 "there is no special token; name the one that stands between documents");
  }
  for (const std::string& token : options.special_tokens) {
    if (token.empty() ||
        std::count(options.special_tokens.begin(), options.special_tokens.end(), token) > 1) {
      return error(Code::kInvalidArgument, "the special token \"{}\" is empty or given twice", token);
    }
  }
  const int least = static_cast<int>(options.special_tokens.size()) + (options.all_bytes ? 256 : 1);
  if (options.vocab_size < least || options.vocab_size > kMaxVocabulary) {
    return error(Code::kInvalidArgument, "the vocabulary size is {}, but must be {} to {}",
                 options.vocab_size, least, kMaxVocabulary);
  }
  return base::Ok{};
}

/// Ids of the bytes, in the order of the characters they are spelled with.
std::array<std::uint32_t, 256> add_bytes(const WordCounts& counts, bool all, Vocabulary& vocabulary) {
  std::array<bool, 256> occurs{};
  occurs.fill(all);
  for (std::size_t i = 0; i < counts.size() && !all; ++i) {
    for (const char byte : counts.word(i)) occurs[static_cast<unsigned char>(byte)] = true;
  }
  std::vector<int> bytes;
  for (int byte = 0; byte < 256; ++byte) {
    if (occurs[static_cast<std::size_t>(byte)]) bytes.push_back(byte);
  }
  std::sort(bytes.begin(), bytes.end(), [](int a, int b) {
    return byte_level_char(static_cast<unsigned char>(a)) < byte_level_char(static_cast<unsigned char>(b));
  });
  std::array<std::uint32_t, 256> ids{};
  for (const int byte : bytes) {
    ids[static_cast<std::size_t>(byte)] = static_cast<std::uint32_t>(
        vocabulary.add(byte_level_encode(std::string(1, static_cast<char>(byte)))));
  }
  return ids;
}

void add_words(const WordCounts& counts, const std::array<std::uint32_t, 256>& bytes,
               BpeMergeSearch& search) {
  std::vector<std::uint32_t> ids;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    ids.clear();
    for (const char byte : counts.word(i)) ids.push_back(bytes[static_cast<unsigned char>(byte)]);
    search.add_word(ids, counts.count(i));
  }
}

/// A pair that is merged twice (its token came from two merges) keeps its last rank, as in the package, which
/// keeps them in a map.
std::vector<std::string> last_of_each(const std::vector<std::string>& merges) {
  std::unordered_map<std::string_view, std::size_t> last;
  for (std::size_t i = 0; i < merges.size(); ++i) last[merges[i]] = i;
  std::vector<std::string> kept;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    if (last[merges[i]] == i) kept.push_back(merges[i]);
  }
  return kept;
}

}  // namespace

BpeTrainer::BpeTrainer(BpeTrainerOptions options, PreTokenizer pre)
    : options_(std::move(options)), pre_(std::move(pre)) {}

base::Result<BpeTrainer> BpeTrainer::create(BpeTrainerOptions options) {
  TW_RETURN_IF_ERROR(check(options));
  TW_ASSIGN_OR_RETURN(PreTokenizer pre, PreTokenizer::create(pre_tokenizer_recipe(options.pre).steps));
  return BpeTrainer(std::move(options), std::move(pre));
}

void BpeTrainer::add(std::span<const std::string_view> documents) {
  std::function<void(std::uint64_t)> progress;
  if (options_.progress) {
    progress = [this](std::uint64_t done) { options_.progress("counting words", bytes_ + done, 0); };
  }
  count_words(documents, pre_, options_.threads, progress, counts_);
  for (const std::string_view document : documents) bytes_ += document.size();
}

base::Result<TokenizerSpec> BpeTrainer::train() const {
  if (counts_.size() == 0) return error(Code::kInvalidArgument, "there is no text to train a tokenizer on");
  Vocabulary vocabulary;
  for (const std::string& token : options_.special_tokens) vocabulary.add(token);
  BpeMergeSearch search;
  add_words(counts_, add_bytes(counts_, options_.all_bytes, vocabulary), search);
  search.start();
  const auto wanted = static_cast<std::size_t>(options_.vocab_size);
  std::vector<std::string> merges;
  BpeMergeSearch::Pair pair;
  while (vocabulary.size() < wanted && search.next(options_.min_frequency, pair)) {
    const std::string &left = vocabulary[pair.left], &right = vocabulary[pair.right];
    merges.push_back(left + " " + right);
    search.merge(static_cast<std::uint32_t>(vocabulary.add(left + right)));
    if (options_.progress) options_.progress("merging", vocabulary.size(), wanted);
  }
  TokenizerSpec spec;
  spec.merges = last_of_each(merges);
  spec.tokens = vocabulary.take();
  spec.types.assign(spec.tokens.size(), TokenType::kNormal);
  for (std::size_t i = 0; i < options_.special_tokens.size(); ++i) spec.types[i] = TokenType::kControl;
  spec.pre = options_.pre;
  spec.bos = spec.eos = 0;
  spec.add_bos = true;
  return spec;
}

}  // namespace tw::text
