// Any bytes as a JSON schema: it compiles or fails with a message, and what compiles only yields JSON.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/grammar.h"
#include "text/token_mask.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using tw::text::TokenTrie;
  static const auto trie = [] {
    std::vector<std::string> pieces;
    for (int b = 0x20; b < 0x7F; ++b) pieces.emplace_back(1, static_cast<char>(b));
    return std::make_shared<const TokenTrie>(pieces, std::vector<bool>{});
  }();
  if (size > 4096) return 0;
  const auto schema = tw::base::parse_ordered_json({reinterpret_cast<const char*>(data), size});
  if (!schema.ok()) return 0;
  const auto grammar = tw::text::compile_json_schema(*schema);
  if (!grammar.ok()) return 0;
  tw::text::GrammarMatcher matcher(*grammar, trie);
  std::vector<std::uint32_t> mask(trie->mask_words());
  std::string text;
  for (std::size_t step = 0; step < 200 && !matcher.must_end(); ++step) {
    matcher.fill_mask(mask);
    std::vector<std::int32_t> allowed;
    for (std::int32_t t = 0; t < trie->vocab_size(); ++t) {
      if ((mask[static_cast<std::size_t>(t) >> 5] >> (t & 31)) & 1) allowed.push_back(t);
    }
    if (allowed.empty()) break;  // only other bytes could follow
    const std::int32_t token = allowed[(data[step % size] + step) % allowed.size()];
    if (!matcher.accept(token)) __builtin_trap();
    text += trie->piece(token);
  }
  if (matcher.can_end() && !tw::base::parse_json(text, 1000).ok()) __builtin_trap();
  return 0;
}
