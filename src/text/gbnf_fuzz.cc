// Any bytes as a GBNF grammar: it compiles or fails with a message, and what compiles can be walked.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/gbnf.h"
#include "text/token_mask.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using tw::text::TokenTrie;
  static const auto trie = std::make_shared<const TokenTrie>(
      std::vector<std::string>{"a", "b", "{", "}", "\"", "aa", "ab", "(", ")", "0", "1", "\n", " ", "[", "]"},
      std::vector<bool>{});
  if (size > 4096) return 0;
  tw::text::GrammarLimits limits;
  limits.work = 1'000'000;  // a fortieth of what is allowed, which takes 10 s under the sanitizers
  tw::text::GrammarBuilder builder(limits);
  const auto root = tw::text::add_gbnf(builder, {reinterpret_cast<const char*>(data), size});
  if (!root.ok()) return 0;
  const auto grammar = builder.build(*root);
  if (!grammar.ok()) return 0;
  tw::text::GrammarMatcher matcher(*grammar, trie);
  std::vector<std::uint32_t> mask(trie->mask_words());
  for (std::size_t step = 0; step < 40; ++step) {
    matcher.fill_mask(mask);
    if (mask[0] == 0) break;
    std::int32_t token = static_cast<std::int32_t>(size > 0 ? data[step % size] % 15 : 0);
    while (((mask[0] >> token) & 1) == 0) token = (token + 1) % 15;
    if (!matcher.accept(token) && !matcher.stuck()) __builtin_trap();
  }
  return 0;
}
