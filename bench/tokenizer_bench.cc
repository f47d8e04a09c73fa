// Tokenizing and detokenizing tinyshakespeare on one thread, and training vocabularies on it, in bytes of
// text a second. TW_VOCABULARIES: the folder with the unpacked ggml-vocab-*.gguf (build/tests/tokenizers).
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "base/mmap.h"
#include "io/gguf_tokenizer.h"
#include "text/bpe_trainer.h"

namespace {

std::unique_ptr<tw::text::Tokenizer> load(benchmark::State& state, const std::string& name) {
  const char* folder = std::getenv("TW_VOCABULARIES");
  const std::string path =
      std::string(folder == nullptr ? "build/tests/tokenizers" : folder) + "/ggml-vocab-" + name + ".gguf";
  auto file = tw::io::GgufFile::open(path);
  if (!file.ok()) return state.SkipWithError(file.error().text().c_str()), nullptr;
  auto spec = tw::io::tokenizer_spec(*file);
  if (!spec.ok()) return state.SkipWithError(spec.error().text().c_str()), nullptr;
  auto tokenizer = tw::text::Tokenizer::create(*std::move(spec));
  if (!tokenizer.ok()) return state.SkipWithError(tokenizer.error().text().c_str()), nullptr;
  return *std::move(tokenizer);
}

std::string shakespeare() {
  auto text = tw::base::read_file(std::string(TW_SOURCE_DIR) + "/tests/data/text/tinyshakespeare.txt");
  return text.ok() ? *text : std::string();
}

void encode(benchmark::State& state, const std::string& name) {
  const auto tokenizer = load(state, name);
  const std::string text = shakespeare();
  if (tokenizer == nullptr) return;
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->encode(text));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void decode(benchmark::State& state, const std::string& name) {
  const auto tokenizer = load(state, name);
  if (tokenizer == nullptr) return;
  const std::string text = shakespeare();
  const auto ids = tokenizer->encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->decode(ids));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void create(benchmark::State& state, const std::string& name) {
  for (auto _ : state) benchmark::DoNotOptimize(load(state, name));
}

/// A vocabulary of this size out of tinyshakespeare; the same with `tokenizers`: tools/make_bpe_golden.py
/// --time.
void train(benchmark::State& state) {
  const std::string text = shakespeare();
  const std::string_view document = text;
  for (auto _ : state) {
    auto trainer = tw::text::BpeTrainer::create(
        {.vocab_size = static_cast<int>(state.range(0)), .threads = static_cast<int>(state.range(1))});
    if (!trainer.ok()) return state.SkipWithError(trainer.error().text().c_str());
    trainer->add({&document, 1});
    benchmark::DoNotOptimize(trainer->train());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

BENCHMARK_CAPTURE(encode, gpt2, "gpt-2");
BENCHMARK_CAPTURE(encode, starcoder, "starcoder");
BENCHMARK_CAPTURE(encode, llama3, "llama-bpe");
BENCHMARK_CAPTURE(encode, qwen2, "qwen2");
BENCHMARK_CAPTURE(encode, falcon, "falcon");
BENCHMARK_CAPTURE(encode, llama2, "llama-spm");
BENCHMARK_CAPTURE(encode, bert, "bert-bge");
BENCHMARK_CAPTURE(decode, gpt2, "gpt-2");
BENCHMARK_CAPTURE(create, starcoder, "starcoder")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(create, command_r, "command-r")->Unit(benchmark::kMillisecond);
BENCHMARK(train)
    ->Args({4096, 1})
    ->Args({4096, 2})
    ->Args({12000, 2})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
