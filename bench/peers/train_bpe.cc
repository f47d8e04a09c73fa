// Training a tokenizer: a vocabulary of 8,192 of tinyshakespeare ten times over, on two threads. One JSON
// line on standard output; what bench/peers/train compares with the `tokenizers` package.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/bpe_trainer.h"

int main() {
  std::ifstream file(TW_SOURCE_DIR "/tests/data/text/tinyshakespeare.txt", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::vector<std::string_view> documents(10, text);
  const auto start = std::chrono::steady_clock::now();
  auto trainer = tw::text::BpeTrainer::create({.vocab_size = 8192, .threads = 2});
  if (!trainer.ok()) return 1;
  trainer->add(documents);
  const auto trained = trainer->train();
  if (!trained.ok()) return 1;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const tw::base::Json line = {{"bytes_per_second", 10 * static_cast<double>(text.size()) / seconds},
                               {"vocabulary", trained->tokens.size()}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}
