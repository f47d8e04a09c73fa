// Whole training steps: forward, backward, clipping and optimizer. One JSON line on standard output; what
// bench/peers/train compares with PyTorch; the matrix peak is measured after the steps. Random tokens and
// weights: time does not depend on them.
//   train_steps SHAPE CONTEXT THREADS [TYPE] [TOKENS] [AT_ONCE] [STEPS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mix64.h"
#include "kernels/probe.h"
#include "steps.h"

namespace {

using namespace tw;

struct Shape {
  const char* name;
  std::int64_t layers, width, heads, ffn, vocab;
};
/// Llama shapes of so many parameters, heads of 64, tied.
constexpr Shape kShapes[] = {
    {"10m", 6, 320, 5, 864, 8192}, {"50m", 12, 512, 8, 1376, 16384}, {"124m", 12, 768, 12, 2048, 50304}};

spec::ModelConfig config_of(const Shape& s, std::int64_t context) {
  spec::ModelConfig c;
  c.architecture = "llama";
  c.layers = s.layers, c.width = s.width, c.heads = c.kv_heads = s.heads, c.head_dim = 64;
  c.ffn_width = s.ffn, c.vocab = s.vocab, c.context = context, c.tied_embeddings = true;
  return c;
}

std::vector<train::TrainBatch> batches_of(const Shape& s, std::int64_t context, std::int64_t tokens,
                                          std::int64_t at_once) {
  std::vector<train::TrainBatch> batches(tokens / at_once);
  std::uint64_t state = 0;
  for (train::TrainBatch& batch : batches) {
    for (std::int64_t at = 0; at < at_once; at += context) {
      std::vector<std::int32_t> ids(context + 1);
      for (std::int32_t& id : ids) id = static_cast<std::int32_t>(base::mix64(++state) % s.vocab);
      batch.add_document(ids);
    }
  }
  return batches;
}

int fail(const std::string& why) {
  return peers::fail("train_steps", why);
}

int run(const Shape& shape, std::int64_t context, int threads, base::DType type, std::int64_t tokens,
        std::int64_t at_once, int steps) {
  const spec::ModelConfig config = config_of(shape, context);
  if (tokens % at_once != 0 || at_once % context != 0)
    return fail("TOKENS, AT_ONCE and CONTEXT do not divide");
  base::Team team(threads);
  train::TrainerOptions options;
  options.type = type;
  options.rows = at_once;
  options.peak_flops = 1;
  auto made = train::Trainer::make(config, options, team);
  if (!made.ok()) return fail(made.error().text());
  train::Trainer& trainer = **made;
  const std::vector<train::TrainBatch> batches = batches_of(shape, context, tokens, at_once);
  const auto done = peers::run_steps(trainer, batches, steps, 1e-4);
  if (!done.ok()) return fail(done.error().text());
  const train::StepReport& report = done->last;
  const double median = done->seconds;
  const base::Json line = {{"shape", shape.name},
                           {"parameters", config.parameter_count()},
                           {"context", context},
                           {"threads", threads},
                           {"type", type == base::DType::kBF16 ? "bf16" : "f32"},
                           {"kernels", trainer.table().name},
                           {"tokens", tokens},
                           {"at_once", at_once},
                           {"seconds", median},
                           {"tokens_per_second", static_cast<double>(tokens) / median},
                           {"flops_per_second", report.peak_share * report.seconds / median},
                           {"peak_bytes", peers::peak_bytes()},
                           {"loss", report.loss},
                           {"peak_flops_per_second", kernels::probe_ceilings(threads, 0)
                                                         .best(type == base::DType::kBF16 ? "bf16" : "fp32")
                                                         .flops_per_second}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const auto number = [&](std::size_t i, std::int64_t other) {
    return args.size() > i ? std::strtoll(args[i].c_str(), nullptr, 10) : other;
  };
  const auto* shape = std::find_if(std::begin(kShapes), std::end(kShapes),
                                   [&](const Shape& s) { return !args.empty() && args[0] == s.name; });
  if (shape == std::end(kShapes) || args.size() < 3)
    return fail("usage: train_steps 10m|50m|124m CONTEXT THREADS [bf16|f32] [TOKENS] [AT_ONCE] [STEPS]");
  const bool wide = args.size() > 3 && args[3] == "f32";
  const std::int64_t tokens = number(4, 8192);
  return run(*shape, number(1, 256), static_cast<int>(number(2, 1)),
             wide ? base::DType::kF32 : base::DType::kBF16, tokens,
             number(5, std::min<std::int64_t>(tokens, 2048)), static_cast<int>(number(6, 3)));
}
