// Byte-level byte-pair encoding: pre-tokenize, then merge inside each piece.
#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/bpe_byte_level.h"
#include "text/bpe_token_table.h"
#include "text/pretokenizer_table.h"
#include "text/tokenizer_model.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;

/// Symbol positions are 32-bit: longer pieces are cut.
constexpr std::size_t kMaxPiece = std::size_t{1} << 30;

class BpeModel : public TokenizerModel {
 public:
  BpeModel(const TokenizerSpec& spec, PreTokenizer pre)
      : pre_(std::move(pre)),
        unk_(spec.unk.value_or(kNoToken)),
        add_prefix_space_(spec.add_prefix_space),
        merges_(spec.merges.size()),
        whole_(spec.tokens.size()) {}

  base::Status build(const TokenizerSpec& spec, const std::vector<std::string>& pieces, bool ignore_merges);

  void encode(std::string_view text, bool, EncodeScratch& scratch, std::vector<TokenId>& out) const override {
    if (text.empty()) return;
    if (add_prefix_space_ && text.front() != ' ') {
      scratch.text.assign(1, ' ').append(text);
      text = scratch.text;
    }
    scratch.pieces.clear();
    pre_.split(text, scratch.pre, scratch.pieces);
    for (const Span piece : scratch.pieces)
      encode_piece(text.substr(piece.begin, piece.end - piece.begin), scratch, out);
  }

 private:
  void encode_piece(std::string_view piece, EncodeScratch& scratch, std::vector<TokenId>& out) const {
    const TokenId whole = whole_.find(piece);
    if (whole != kNoToken) {
      out.push_back(whole);
      return;
    }
    for (; piece.size() > kMaxPiece; piece.remove_prefix(kMaxPiece))
      merge(piece.substr(0, kMaxPiece), scratch.merges, out);
    merge(piece, scratch.merges, out);
  }

  void merge(std::string_view piece, MergeScratch& scratch, std::vector<TokenId>& out) const {
    scratch.symbols.clear();
    for (std::size_t i = 0; i < piece.size(); ++i) {
      scratch.symbols.push_back(
          {bytes_[static_cast<unsigned char>(piece[i])], static_cast<std::uint32_t>(i), {}});
    }
    scratch.run(merges_);
    for (const Symbol& symbol : scratch.symbols) {
      const TokenId id = symbol.id == kNoToken ? unk_ : symbol.id;
      if (id != kNoToken) out.push_back(id);
    }
  }

  PreTokenizer pre_;
  TokenId unk_;
  bool add_prefix_space_;
  std::array<TokenId, 256> bytes_{};
  MergeTable merges_;
  /// Pieces that end as one token, so that most words need no merging.
  TokenTable whole_;
};

base::Status BpeModel::build(const TokenizerSpec& spec, const std::vector<std::string>& pieces,
                             bool ignore_merges) {
  TokenTable spellings(spec.tokens.size());
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    spellings.insert(spec.tokens[id], static_cast<TokenId>(id));
  }
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelled;
    base::append_utf8(spelled, byte_level_char(static_cast<unsigned char>(byte)));
    const TokenId id = spellings.find(spelled);
    bytes_[byte] = id != kNoToken && is_control_token(spec, id) ? kNoToken : id;
  }
  TW_RETURN_IF_ERROR(add_merges(spec, spellings, merges_));
  MergeScratch scratch;
  std::vector<TokenId> ids;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    // A token whose piece is not its spelling undone (such as an added one) is no symbol of the merges.
    if (!is_text_token(spec, id) || byte_level_decode(spec.tokens[id]) != pieces[id]) continue;
    if (!ignore_merges) {
      ids.clear();
      merge(pieces[id], scratch, ids);
      if (ids.size() != 1 || ids[0] != static_cast<TokenId>(id)) continue;
    }
    whole_.insert(pieces[id], static_cast<TokenId>(id));
  }
  return base::Ok{};
}

}  // namespace

base::Status add_merges(const TokenizerSpec& spec, const TokenTable& spellings, MergeTable& table) {
  std::string joined;
  for (std::size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const std::string_view merge = spec.merges[rank];
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 >= merge.size()) {
      return error(Code::kCorrupt, "merge {} (\"{}\") is not two tokens with a space between them", rank,
                   base::sanitize_utf8(merge));
    }
    joined.assign(merge.substr(0, space)).append(merge.substr(space + 1));
    const TokenId left = spellings.find(merge.substr(0, space));
    const TokenId right = spellings.find(merge.substr(space + 1));
    const TokenId result = spellings.find(joined);
    if (left == kNoToken || right == kNoToken || result == kNoToken) {
      return error(Code::kCorrupt, "merge {} (\"{}\") names a token that is not in the vocabulary", rank,
                   base::sanitize_utf8(merge));
    }
    // Text must not become a control token, whatever its file says.
    if (!is_control_token(spec, result))
      table.insert(left, right, {static_cast<std::uint32_t>(rank), result});
  }
  return base::Ok{};
}

base::Result<std::unique_ptr<TokenizerModel>> make_bpe_model(const TokenizerSpec& spec,
                                                             const std::vector<std::string>& pieces) {
  bool ignore_merges = spec.ignore_merges;
  std::vector<PreTokenizerStep> steps = spec.pre_steps;
  if (steps.empty()) {
    PreTokenizerRecipe recipe = pre_tokenizer_recipe(spec.pre);
    steps = std::move(recipe.steps);
    ignore_merges |= recipe.ignore_merges;
  }
  TW_ASSIGN_OR_RETURN(PreTokenizer pre, PreTokenizer::create(steps));
  auto model = std::make_unique<BpeModel>(spec, std::move(pre));
  TW_RETURN_IF_ERROR(model->build(spec, pieces, ignore_merges));
  return std::unique_ptr<TokenizerModel>(std::move(model));
}

}  // namespace tw::text
