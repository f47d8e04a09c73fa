// Everything a training run can be told: a recipe. ONE field list (visit of each struct) feeds the recipe's
// reader and writer (train_recipe.h), the flags of `tokenworks train`, --help and the table of
// docs/training.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace tw::spec {

/// What a value must be: a number from `low` to `high`, or one of these words, separated by spaces.
struct TrainRule {
  double low = 0, high = 0;
  const char* words = nullptr;
  /// The field holds kNotGiven until somebody says it. Nobody can say that: recipes and flags refuse it, and
  /// what is written leaves it out.
  bool optional = false;
};
inline constexpr double kNotGiven = -1;
inline constexpr TrainRule or_not_given(double low, double high) {
  return {low, high, nullptr, true};
}
inline constexpr TrainRule kAnyText{};
inline constexpr TrainRule one_of(const char* words) {
  return {0, 0, words};
}

/// Something must be left.
inline constexpr TrainRule kShareLeftOut{0, 0.999999};

struct TrainData {
  std::string path;
  std::string kind = "text";
  double weight = 1;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("path", c.path, "a folder of .txt, .md and .jsonl files, or one such file", kAnyText);
    v("kind", c.kind,
      "text; chat: lines {\"messages\": [...]}, of which the assistant's words are learnt; preference: lines "
      "{\"prompt\", \"chosen\", \"rejected\"}, texts or lists of messages, learnt by DPO; a stage has these "
      "or the others",
      one_of("text chat preference"));
    v("weight", c.weight, "its share of the tokens is this over the sum of all", TrainRule{1e-6, 1e6});
  }
};

struct TrainSchedule {
  std::string kind = "cosine";
  double peak = 0;
  std::int64_t warmup = static_cast<std::int64_t>(kNotGiven);
  double last = 0.1;
  double falling = 0.2;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("kind", c.kind,
      "how the rate falls: cosine, linear, wsd (warm up, stable, decay), or constant: it does not",
      one_of("cosine linear wsd constant"));
    v("peak", c.peak,
      "largest learning rate (default: 0.003 up to width 256, and less for wider models; adafactor: 0.01)",
      TrainRule{0, 10});
    v("warmup", c.warmup, "steps in which it rises from 0 (default: a hundredth of the steps, at least 10)",
      or_not_given(0, 1e9));
    v("last", c.last, "share of the peak that is left at the end", TrainRule{0, 1});
    v("falling", c.falling, "wsd: share of the stage in which the rate falls", TrainRule{0, 1});
  }
};

struct TrainOptimizer {
  std::string kind = "adamw";
  double beta1 = 0.9, beta2 = 0.95, momentum = 0.95, epsilon = 0, decay = kNotGiven, clip = 1, spike = 0,
         z_loss = 0, balance_loss = 0.01;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("kind", c.kind,
      "adamw; muon: matrices of the layers by their momentum made orthogonal, all else by AdamW; adafactor: "
      "squares by row and column alone, the rate relative to the weights; rmsprop: with momentum of the "
      "updates, as Apple's foundation models",
      one_of("adamw muon adafactor rmsprop"));
    v("beta1", c.beta1, "AdamW: memory of the gradients", TrainRule{0, 0.999999});
    v("beta2", c.beta2, "AdamW and rmsprop: memory of their squares", TrainRule{0, 0.999999});
    v("momentum", c.momentum, "muon: memory of the gradients; rmsprop: memory of the updates",
      TrainRule{0, 0.999999});
    v("epsilon", c.epsilon,
      "AdamW: added to the root of the squares; adafactor: the least root; rmsprop: added to the squares "
      "(default: 1e-8; adafactor: 1.2e-7; rmsprop: 1e-30)",
      TrainRule{0, 1});
    v("decay", c.decay,
      "weight decay of matrices, decoupled, times the rate (default: 0.1; rmsprop: 3.16e-4 / schedule.peak)",
      or_not_given(0, 10));
    v("clip", c.clip, "largest length of all gradients together; 0: any", TrainRule{0, 1e9});
    v("spike", c.spike, "a step whose gradients are so many times longer than usual is skipped; 0: none is",
      TrainRule{0, 1e9});
    v("z-loss", c.z_loss, "weight of the squared logarithm of the softmax's sum", TrainRule{0, 1});
    v("balance-loss", c.balance_loss,
      "of a mixture of experts: weight of what deals tokens out evenly among them (router_aux_loss_coef of "
      "transformers)",
      TrainRule{0, 100});
  }
};

/// Distillation (arXiv 1503.02531): a larger model's opinion is learnt beside the text.
struct TrainTeacher {
  std::string path;
  std::int64_t top = 1;
  double weight = 0.9, temperature = 1;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("path", c.path, "a model folder or .gguf file with the same tokenizer; none: only the text is learnt",
      kAnyText);
    v("top", c.top, "its likeliest tokens that count, by their probabilities among themselves",
      TrainRule{1, 1 << 20});
    v("weight", c.weight, "share of the loss that is the teacher's; the text has the rest", TrainRule{0, 1});
    v("temperature", c.temperature, "divides both models' logits, and the teacher's loss has its square",
      TrainRule{0.01, 100});
  }
};

/// Direct preference optimization (arXiv 2305.18290), of stages whose data is of the kind "preference".
struct TrainPreference {
  double beta = 0.1;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("beta", c.beta, "how strongly the weights that the stage begins with hold it back",
      TrainRule{1e-6, 1e3});
  }
};

/// Structured pruning of feed-forward layers by soft top-k masks (arXiv 2407.21075).
struct TrainPruning {
  std::int64_t ffn_width = 0;
  double falling = 0.5, speed = 30;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("ffn-width", c.ffn_width,
      "that of the smaller model which the stage leaves to the next: which units of each layer stay is "
      "learnt; "
      "0: all",
      TrainRule{0, 1 << 20});
    v("falling", c.falling, "share of the stage in which the width falls to that; then the masks harden",
      TrainRule{0, 1});
    v("speed", c.speed, "the units' scores move so many times as fast as weights", TrainRule{0, 1e6});
  }
};

inline constexpr std::int64_t kMaxTrainRows = std::int64_t{1} << 20;  ///< tokens of one pass

struct TrainStage {
  std::string name;
  std::vector<TrainData> data;
  std::int64_t sequence = 0, batch = 0, micro_batch = 0;
  std::int64_t steps = 0, tokens = 0;
  double minutes = 0;
  std::string start = "auto", recompute = "none";
  double rope_theta = 0, dropout = 0, attention_dropout = kNotGiven, expert_capacity = 0;
  TrainTeacher teacher;
  TrainPreference preference;
  TrainPruning pruning;
  TrainSchedule schedule;
  TrainOptimizer optimizer;

  /// It learns preferences.
  bool of_pairs() const { return !data.empty() && data[0].kind == "preference"; }
  bool starts_from_path() const { return start != "auto" && start != "none" && start != "previous"; }

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("name", c.name, "for people and the log", kAnyText);
    v("data", c.data, "what it learns from", kAnyText);
    v("sequence", c.sequence, "tokens of one sequence (default: the model's context)",
      TrainRule{0, kMaxTrainRows});
    v("batch", c.batch, "tokens of one step (default: 8192, less for small data)", TrainRule{0, 1 << 28});
    v("micro-batch", c.micro_batch,
      "tokens that are computed at a time, the step's gradients being added up (default: the batch, at most "
      "8192)",
      TrainRule{0, kMaxTrainRows});
    v("recompute", c.recompute,
      "block: of each layer only the input is kept, and it is run again for its gradients: the same bits, "
      "less "
      "memory of activations, a third slower; or none",
      one_of("none block"));
    v("steps", c.steps, "how long: so many steps; of several lengths whichever is over first",
      TrainRule{0, 1e12});
    v("tokens", c.tokens, "or so many tokens", TrainRule{0, 1e15});
    v("minutes", c.minutes,
      "or so long; those of the first stage count from the start of the program (default: 10 minutes)",
      TrainRule{0, 1e7});
    v("start", c.start,
      "weights to begin with: auto (the stage before, or none), none (fresh ones), or a model folder or "
      ".gguf file; stages after the first begin with those of the one before",
      kAnyText);
    v("rope-theta", c.rope_theta, "base of the rotary positions from this stage on (default: the model's)",
      TrainRule{0, 1e12});
    v("dropout", c.dropout,
      "share of the numbers that is left out at random, behind the embedding and of what each layer adds; "
      "not when validating and sampling",
      kShareLeftOut);
    v("attention-dropout", c.attention_dropout,
      "the same of attention's weights, behind the softmax (default: as dropout)",
      or_not_given(0, kShareLeftOut.high));
    v("expert-capacity", c.expert_capacity,
      "of a mixture of experts: an expert takes at most so many times its even share of the tokens of a "
      "pass, "
      "and those that it has no room for go on without it; 0: all that it is chosen for",
      TrainRule{0, 1000});
    v("teacher", c.teacher, "a model whose opinion is learnt, too", kAnyText);
    v("preference", c.preference, "how preferences are learnt", kAnyText);
    v("pruning", c.pruning, "narrower feed-forward layers", kAnyText);
    v("schedule", c.schedule, "the learning rate", kAnyText);
    v("optimizer", c.optimizer, "how weights are moved", kAnyText);
  }
};

struct TrainModel {
  std::string name, family = "llama";
  bool mixture() const { return family == "mixtral" || family.ends_with("_moe"); }
  std::int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, ffn_width = 0, context = 0, mup_base = 0;
  std::int64_t experts = 0, experts_per_token = 0;
  bool tied = true;
  double rope_theta = 10000;
  /// Keys that a recipe's file or a flag names, be it to say the default. Not written.
  std::vector<std::string> given;

  /// Whether somebody has said it; `otherwise`: it is not the default.
  bool says(const char* key, bool otherwise) const;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("name", c.name, "what it is called (default: the name of the output folder)", kAnyText);
    v("family", c.family,
      "llama: rotary positions, RMSNorm, a gated feed-forward layer; gpt2: learned positions, LayerNorm, "
      "GELU, biases; mixtral, qwen2_moe and qwen3_moe: llama's with experts for feed-forward layers, the "
      "second with biases and an expert for every token, as wide as all that it takes, and the third norms "
      "each head's query and key",
      one_of("llama gpt2 mixtral qwen2_moe qwen3_moe"));
    v("layers", c.layers, "decoder layers (default: layers and width by the machine, the time and the data)",
      TrainRule{0, 1000});
    v("width", c.width, "of the residual stream", TrainRule{0, 65536});
    v("heads", c.heads, "query heads (default: width / 64, or width / 32 below width 512)",
      TrainRule{0, 1024});
    v("kv-heads", c.kv_heads, "key and value heads (default: as many as heads)", TrainRule{0, 1024});
    v("ffn-width", c.ffn_width,
      "of the feed-forward layer, or of each expert (default: 8/3 of the width, or 4 for gpt2)",
      TrainRule{0, 1 << 20});
    v("context", c.context, "longest sequence (default: the longest of the stages, or 256)",
      TrainRule{0, kMaxTrainRows});
    v("experts", c.experts, "of each layer, in families that have them (default: 8)", TrainRule{0, 4096});
    v("experts-per-token", c.experts_per_token, "how many of them a token takes (default: 2)",
      TrainRule{0, 4096});
    v("tied", c.tied, "the output head is the embedding table", kAnyText);
    v("rope-theta", c.rope_theta, "base of the rotary positions", TrainRule{1, 1e12});
    v("mup-base", c.mup_base,
      "muP (simple): the width that the rates were found at; matrices of a wider model's layers move base / "
      "width times as fast, and begin with a spread that is smaller by the root of that; 0: no such thing",
      TrainRule{0, 65536});
  }
};

/// LoRA (arXiv 2106.09685) instead of learning all weights.
struct TrainAdapter {
  std::int64_t rank = 0;
  double alpha = 0, dropout = 0;
  std::string targets = "all";

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("rank", c.rank,
      "rank of its matrices; the model that the first stage starts from stays as it is, in its file's types "
      "(0: all weights are learnt)",
      TrainRule{0, 256});
    v("alpha", c.alpha, "what it adds is multiplied by alpha / rank (default: twice the rank)",
      TrainRule{0, 1e6});
    v("dropout", c.dropout,
      "share of what it reads that is left out at random while it is learnt (lora_dropout of peft)",
      kShareLeftOut);
    v("targets", c.targets,
      "the linear layers that it adds to: all, or some of q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,"
      "down_proj",
      kAnyText);
  }
};

struct TrainTokenizer {
  std::string kind = "bpe";
  std::int64_t vocab = 0;
  std::string path;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("kind", c.kind,
      "bpe: byte-level BPE trained on the data; bytes: no merges; characters: only the bytes that occur, so "
      "that "
      "plain English has one token a letter; file: that of tokenizer.path",
      one_of("bpe bytes characters file"));
    v("vocab", c.vocab, "bpe: tokens, specials included (default: by the size of the data, 512 to 16384)",
      TrainRule{0, 1 << 20});
    v("path", c.path, "file: a model folder, a tokenizer.json or a .gguf file", kAnyText);
  }
};

struct TrainCheckpoints {
  std::int64_t steps = 0, keep_last = 2, keep_best = 1;
  double minutes = 5;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("steps", c.steps, "steps from one checkpoint to the next (default: by the minutes)",
      TrainRule{0, 1e12});
    v("minutes", c.minutes, "minutes from one to the next, where steps are not given", TrainRule{0.01, 1e6});
    v("keep-last", c.keep_last, "the newest that are kept", TrainRule{1, 1000});
    v("keep-best", c.keep_best, "those with the smallest validation losses that are kept besides",
      TrainRule{0, 1000});
  }
};

struct TrainValidation {
  double share = 0.1;
  std::int64_t interval = 0, tokens = 0;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("share", c.share, "of each source, at its end: never learnt from; 0: none", TrainRule{0, 0.9});
    v("interval", c.interval, "steps from one validation to the next (default: twenty in a stage)",
      TrainRule{0, 1e12});
    v("tokens", c.tokens, "at most so many at a time; the last one of a stage takes all (default: 65536)",
      TrainRule{0, 1e12});
  }
};

struct TrainSamples {
  std::int64_t interval = 0, tokens = 64;
  std::string prompt;
  double temperature = 0.8;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("interval", c.interval, "steps from one sample to the next; -1: none (default: five in a stage)",
      TrainRule{-1, 1e12});
    v("tokens", c.tokens, "of a sample", TrainRule{1, 4096});
    v("prompt", c.prompt, "what it begins with (default: nothing)", kAnyText);
    v("temperature", c.temperature, "0: the likeliest token", TrainRule{0, 100});
  }
};

struct TrainConfig {
  std::string out = "trained";
  std::uint32_t seed = 0;
  std::string precision = "auto";
  std::int64_t threads = 0;
  std::string cpus, isa;
  std::int64_t skip_limit = 10;
  TrainModel model;
  TrainAdapter adapter;
  TrainTokenizer tokenizer;
  TrainCheckpoints checkpoints;
  TrainValidation validation;
  TrainSamples samples;
  std::vector<TrainStage> stages;

  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("out", c.out, "folder of the model, its checkpoints and its log", kAnyText);
    v("seed", c.seed, "of first weights, order of the data and samples", TrainRule{0, 4294967295.0});
    v("precision", c.precision,
      "of products: bf16, fp32, or auto: bf16 where the processor multiplies it faster",
      one_of("auto bf16 fp32"));
    v("threads", c.threads, "worker threads (default: what the machine and the cgroup allow)",
      TrainRule{0, 1024});
    v("cpus", c.cpus, "processors they keep to, such as 0-3,8 (default: all that this process may use)",
      kAnyText);
    v("isa", c.isa, "force a kernel set: ref, avx2, avx512, amx (default: the best this processor has)",
      kAnyText);
    v("skip-limit", c.skip_limit,
      "so many skipped steps in a row (numbers that are not finite, spikes) go back to the last checkpoint",
      TrainRule{1, 1e6});
    v("model", c.model, "the decoder to be learnt", kAnyText);
    v("adapter", c.adapter, "a LoRA adapter beside a model that is there", kAnyText);
    v("tokenizer", c.tokenizer, "how text becomes tokens", kAnyText);
    v("checkpoints", c.checkpoints, "what a run can go on from", kAnyText);
    v("validation", c.validation, "the loss on text that is not learnt from", kAnyText);
    v("samples", c.samples, "what the model writes meanwhile", kAnyText);
    v("stages", c.stages, "one after the other", kAnyText);
  }

  /// What no single field can break: stages with data, a shape that is whole or absent.
  /// The error names the fields.
  base::Status validate() const;
};

}  // namespace tw::spec
