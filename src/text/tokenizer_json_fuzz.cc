// A tokenizer.json from anyone: it parses or fails with a message; what it makes encodes any text and decodes
// any ids. The input is the file, then a zero byte, then the text.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

namespace {

void check(const tw::text::Tokenizer& tokenizer, std::string_view text) {
  using tw::text::TokenId;
  const auto ids = tokenizer.encode(text, {.add_special = true, .parse_special = true});
  tw::text::StreamingDetokenizer stream(tokenizer);
  std::string streamed;
  for (const TokenId id : ids) {
    TW_CHECK(id >= 0 && static_cast<std::size_t>(id) < tokenizer.size(), "ids are in the vocabulary");
    streamed += stream.push(id);
  }
  streamed += stream.finish();
  TW_CHECK(tw::base::is_valid_utf8(streamed), "the stream is UTF-8");
  TW_CHECK(streamed == tw::base::sanitize_utf8(tokenizer.decode(ids)), "the stream is the text");
  for (const TokenId id : tokenizer.encode(text, {.add_special = false, .parse_special = false})) {
    // Files mark unk as special, and it is what a character outside of the vocabulary becomes.
    TW_CHECK(!tokenizer.is_control(id) || id == tokenizer.unk(),
             "no control token but unk out of plain text");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(input.find('\0'), size);
  const std::string_view text = cut < size ? input.substr(cut + 1) : "Hello  w\xC3\xB6rld's 123 <s>\n\xFF";
  auto spec = tw::text::parse_tokenizer_json(input.substr(0, cut), "");
  if (!spec.ok()) return 0;
  auto tokenizer = tw::text::Tokenizer::create(*std::move(spec));
  if (tokenizer.ok()) check(**tokenizer, text);
  return 0;
}
