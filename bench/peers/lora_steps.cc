// Whole training steps of a LoRA adapter beside a frozen model: what bench/peers/train compares with peft.
// One JSON line on standard output.
//   lora_steps MODEL IDS CONTEXT THREADS AT_ONCE STEPS RANK ALPHA RATE
// IDS: a JSON list of token ids, cut into documents of CONTEXT + 1; all of them are a step.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mmap.h"
#include "steps.h"

namespace {

using namespace tw;

struct Options {
  std::string model, ids;
  std::int64_t context, threads, at_once, steps, rank;
  double alpha, rate;
};

base::Result<std::vector<train::TrainBatch>> read_batches(const Options& o) {
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(o.ids));
  TW_ASSIGN_OR_RETURN(const base::Json json, base::parse_json(text));
  const auto ids = json.get<std::vector<std::int32_t>>();
  const std::int64_t each = o.context + 1;
  std::vector<train::TrainBatch> batches;
  for (auto at = ids.begin(); ids.end() - at >= each; at += each) {
    if (batches.empty() || batches.back().rows() + o.context > o.at_once) batches.emplace_back();
    batches.back().add_document({at, at + each});
  }
  return batches;
}

base::Result<base::Json> measure(const Options& o) {
  base::Team team(static_cast<int>(o.threads));
  model::LoadOptions load;
  load.threads = team.size();
  TW_ASSIGN_OR_RETURN(const auto model, model::LoadedModel::load(o.model, load));
  TW_ASSIGN_OR_RETURN(const std::vector<train::TrainBatch> batches, read_batches(o));
  train::TrainerOptions options;
  options.type = base::DType::kBF16;
  options.rows = o.at_once;
  options.optimizer.beta2 = 0.999;  // torch.optim.AdamW's
  options.optimizer.decay = 0.01;
  model::AdapterConfig adapter;
  adapter.rank = o.rank;
  adapter.alpha = o.alpha;
  adapter.targets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  TW_ASSIGN_OR_RETURN(const auto trainer, train::Trainer::make_adapter(model, adapter, options, team));
  TW_ASSIGN_OR_RETURN(const peers::Steps done,
                      peers::run_steps(*trainer, batches, static_cast<int>(o.steps), o.rate));
  const auto tokens = static_cast<double>(done.last.tokens);
  return base::Json{{"model", o.model},
                    {"context", o.context},
                    {"threads", o.threads},
                    {"kernels", trainer->table().name},
                    {"tokens", tokens},
                    {"at_once", o.at_once},
                    {"seconds", done.seconds},
                    {"tokens_per_second", tokens / done.seconds},
                    {"first_loss", done.first_loss},
                    {"last_loss", done.last.loss},
                    {"peak_bytes", peers::peak_bytes()}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 10)
    return peers::fail("lora_steps",
                       "usage: lora_steps MODEL IDS CONTEXT THREADS AT_ONCE STEPS RANK ALPHA RATE");
  const auto whole = [&](int i) { return std::strtoll(argv[i], nullptr, 10); };
  const auto number = [&](int i) { return std::strtod(argv[i], nullptr); };
  const auto line =
      measure({argv[1], argv[2], whole(3), whole(4), whole(5), whole(6), whole(7), number(8), number(9)});
  if (!line.ok()) return peers::fail("lora_steps", line.error().text());
  std::printf("%s\n", line->dump().c_str());
  return 0;
}
