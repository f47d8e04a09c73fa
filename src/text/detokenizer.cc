// Tokens to text as they come.
#include "base/utf8.h"
#include "text/tokenizer.h"

namespace tw::text {

StreamingDetokenizer::StreamingDetokenizer(const Tokenizer& tokenizer, DetokenizerOptions options)
    : tokenizer_(tokenizer),
      options_(options),
      strip_space_(options.text_start && tokenizer.strips_leading_space()) {}

std::string StreamingDetokenizer::push(TokenId id) {
  const bool known = id >= 0 && static_cast<std::size_t>(id) < tokenizer_.size();
  const bool special = tokenizer_.is_special(id);
  if (!known || (special && options_.skip_special)) return {};
  std::string_view piece = tokenizer_.piece(id);
  if (strip_space_ && !special && piece.starts_with(' ')) piece.remove_prefix(1);
  strip_space_ = false;
  waiting_ += piece;
  const std::size_t ready = base::complete_utf8_prefix(waiting_);
  std::string out = base::sanitize_utf8(std::string_view(waiting_).substr(0, ready));
  waiting_.erase(0, ready);
  return out;
}

std::string StreamingDetokenizer::finish() {
  std::string out = base::sanitize_utf8(waiting_);
  waiting_.clear();
  strip_space_ = options_.text_start && tokenizer_.strips_leading_space();
  return out;
}

}  // namespace tw::text
