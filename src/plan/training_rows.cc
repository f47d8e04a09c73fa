#include "plan/training_rows.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "plan/csv_fields.h"

namespace tw::plan {
namespace {

constexpr std::string_view kColumns[] = {"system",       "model",
                                         "params",       "layers",
                                         "hidden",       "heads",
                                         "kv_heads",     "ffn",
                                         "vocab",        "seq",
                                         "global_batch", "gpus",
                                         "gpu_type",     "tp",
                                         "pp",           "dp",
                                         "cp",           "ep",
                                         "vpp",          "zero",
                                         "micro_batch",  "recompute",
                                         "precision",    "tflops_per_gpu",
                                         "mfu",          "iteration_time_s",
                                         "tokens_per_s", "source"};

/// Of these, those that hold nothing or a number. What zero holds may be words.
constexpr std::string_view kNumbers[] = {"layers",
                                         "hidden",
                                         "heads",
                                         "kv_heads",
                                         "ffn",
                                         "vocab",
                                         "seq",
                                         "global_batch",
                                         "gpus",
                                         "tp",
                                         "pp",
                                         "dp",
                                         "cp",
                                         "ep",
                                         "vpp",
                                         "micro_batch",
                                         "tflops_per_gpu",
                                         "mfu",
                                         "iteration_time_s",
                                         "tokens_per_s"};

/// "174.6B" -> 174.6e9; 0 where it says nothing.
double parameters(const std::string& text) {
  if (text.empty()) return 0;
  const double value = parse_number(text.substr(0, text.size() - 1)).value_or(0);
  return value * (text.back() == 'B' ? 1e9 : text.back() == 'M' ? 1e6 : text.back() == 'T' ? 1e12 : 0);
}

/// Mixtures by their public configurations: the file has columns for dense models alone.
void add_experts(const std::string& name, spec::ModelConfig& c) {
  if (name.starts_with("DeepSeekV3")) {
    c.experts = {256, 8, 1, 2048, 3, 0};
    c.ffn_width = 18432;
    c.head_dim = 128;
    c.latent = {1536, 512, 64, 128};
  } else if (name.starts_with("Qwen3_30B") || name.starts_with("Qwen3_235B")) {
    c.experts = {128, 8, 0, c.ffn_width, 0, 0};
    c.head_dim = 128;
    c.qk_norm = true;
  }
}

spec::ModelConfig model_of(const CsvFields& f) {
  spec::ModelConfig c;
  c.name = f.text("model");
  c.layers = static_cast<std::int64_t>(f.number("layers"));
  c.width = static_cast<std::int64_t>(f.number("hidden"));
  c.heads = static_cast<std::int64_t>(f.number("heads"));
  // Not stated: heads of about 128, as many as the ranks can share.
  const std::int64_t ranks = f.size("tp");
  if (c.heads == 0) c.heads = std::max<std::int64_t>(1, (c.width / 128 + ranks / 2) / ranks) * ranks;
  c.kv_heads = static_cast<std::int64_t>(f.number("kv_heads"));
  if (c.kv_heads == 0) c.kv_heads = c.heads;
  c.head_dim = std::max<std::int64_t>(2, c.width / c.heads / 2 * 2);
  c.vocab = static_cast<std::int64_t>(f.number("vocab"));
  if (c.vocab == 0) c.vocab = 51200;  // GPT-2's, padded
  c.ffn_width = static_cast<std::int64_t>(f.number("ffn"));
  const bool unknown_width = c.ffn_width == 0;
  if (unknown_width) c.ffn_width = 4 * c.width;
  c.context = std::max<std::int64_t>(1, static_cast<std::int64_t>(f.number("seq")));
  // GPT or Llama: what comes nearer to the parameters that the row states.
  spec::ModelConfig gpt = c, llama = c;
  gpt.norm = spec::NormKind::kLayer;
  gpt.ffn = spec::FfnKind::kGelu;
  gpt.learned_positions = true;
  if (unknown_width) llama.ffn_width = (8 * c.width / 3 + 255) / 256 * 256;
  add_experts(c.name, llama);
  if (llama.experts.count > 0) return llama;
  const double stated = parameters(f.text("params"));
  const auto off = [&](const spec::ModelConfig& m) {
    return std::fabs(std::log(static_cast<double>(m.parameter_count()) / stated));
  };
  return stated > 0 && off(llama) < off(gpt) ? llama : gpt;
}

spec::ParallelPlan plan_of(const CsvFields& f) {
  spec::ParallelPlan p;
  p.tensor = f.size("tp"), p.pipeline = f.size("pp"), p.context = f.size("cp"), p.expert = f.size("ep");
  p.interleave = f.size("vpp"), p.micro_batch = f.size("micro_batch");
  const int others = p.tensor * p.pipeline * p.context;
  p.data = f.number("dp") > 0 ? f.size("dp") : std::max(1, f.size("gpus") / others);
  const std::string& zero = f.text("zero");
  if (!zero.empty()) p.zero = std::isdigit(static_cast<unsigned char>(zero[0])) != 0 ? zero[0] - '0' : 2;
  const std::string& recompute = f.text("recompute");
  p.recompute = recompute.starts_with("full")                                  ? spec::Recompute::kFull
                : recompute.starts_with("selective") || recompute == "minimal" ? spec::Recompute::kSelective
                                                                               : spec::Recompute::kNone;
  // Megatron-Core's users switch it on with tensor parallelism.
  const bool core =
      f.has("system", "NeMo") || f.has("system", "Megatron-Bridge") || f.has("system", "Llama 3");
  p.sequence = p.tensor > 1 && (f.has("recompute", "SP") || core);
  return p;
}

Precision precision_of(const CsvFields& f) {
  std::string text = f.text("precision");
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (text.find("fp4") != std::string::npos) return Precision::kFp4;
  // The 25.09 tables have two FP8 recipes and no word of it in each row.
  const bool silent =
      f.has("system", "Megatron-Bridge") && (text.empty() || text.find("alt quant") != std::string::npos);
  return silent || text.find("fp8") != std::string::npos ? Precision::kFp8 : Precision::kBf16;
}

double measured_seconds(const CsvFields& f, const TrainingRow& row) {
  if (f.number("iteration_time_s") > 0) return f.number("iteration_time_s");
  if (f.number("tokens_per_s") > 0)
    return static_cast<double>(row.job.global_batch * row.job.sequence) / f.number("tokens_per_s");
  double rate = f.number("tflops_per_gpu") * 1e12;
  const auto accelerator = Catalogue::shipped().find(row.accelerator);
  if (rate <= 0 && accelerator.ok()) {
    const auto peak = (*accelerator)->get(Field::kBf16);
    if (peak.ok()) rate = f.number("mfu") / 100 * peak->value * 1e12;
  }
  const bool recomputed = f.has("source", "counts recompute") && row.plan.recompute == spec::Recompute::kFull;
  return rate <= 0 ? 0 : counted_flops(row, recomputed, f.has("source", "causal")) / (rate * row.gpus);
}

std::string set_of(const CsvFields& f) {
  if (f.has("system", "(vTrain single)")) return "training-single-node";
  if (f.has("system", "(vTrain)")) return "training-multi-node";
  if (f.has("system", "Korthikanti") && f.number("iteration_time_s") > 0) return "training-selene";
  return "training-other";
}

/// Why the row cannot be predicted; empty: it can.
std::string problem_of(const CsvFields& f, const TrainingRow& row) {
  const bool result = f.number("iteration_time_s") > 0 || f.number("tokens_per_s") > 0 ||
                      f.number("tflops_per_gpu") > 0 || f.number("mfu") > 0;
  if (!result) return "it has no result";
  if (f.number("layers") <= 0 || f.number("hidden") <= 0) return "it does not state the model's layers";
  if (f.number("gpus") <= 0) return "it does not state the number of accelerators";
  if (auto found = Catalogue::shipped().find(row.accelerator); !found.ok()) return found.error().text();
  if (f.number("seq") <= 0) return "it does not state the sequence length";
  if (f.number("global_batch") <= 0 && row.plan.pipeline > 1) return "it does not state the global batch";
  if (f.has("zero", "offload")) return "it offloads to the host, whose link is not stated";
  if (f.has("model", "LoRA")) return "adapters alone are trained";
  if (auto valid = row.model.validate(); !valid.ok()) return valid.error().text();
  spec::ParallelPlan plan = row.plan;
  if (auto valid = plan.validate(row.model, static_cast<std::int64_t>(row.gpus), row.job.global_batch);
      !valid.ok())
    return valid.error().text();
  return {};
}

TrainingRow read_row(const CsvFields& f, int number) {
  TrainingRow row;
  row.number = number;
  row.system = f.text("system");
  row.model_name = f.text("model");
  row.accelerator = f.text("gpu_type");
  row.set = set_of(f);
  row.gpus = f.number("gpus");
  row.model = model_of(f);
  row.plan = plan_of(f);
  row.job.sequence = static_cast<std::int64_t>(f.number("seq"));
  row.job.precision = precision_of(f);
  // Where no batch is stated, one micro-batch a replica: a step of the least work.
  const double least = static_cast<double>(row.plan.data) * row.plan.micro_batch;
  row.job.global_batch =
      static_cast<std::int64_t>(f.number("global_batch") > 0 ? f.number("global_batch") : least);
  row.problem = problem_of(f, row);
  if (row.problem.empty()) row.seconds = measured_seconds(f, row);
  if (row.problem.empty() && !(row.seconds > 0))
    row.problem = "its result cannot be turned into a step's time";
  row.scored = f.number("layers") > 0 && row.gpus > 0 && Catalogue::shipped().find(row.accelerator).ok();
  return row;
}

}  // namespace

std::string TrainingRow::group() const {
  const std::string name = model_name.substr(0, model_name.find(" ("));
  return name.substr(0, name.find(" SFT"));
}

double counted_flops(const TrainingRow& row, bool recomputed, bool causal) {
  const spec::ModelConfig& m = row.model;
  const double tokens = static_cast<double>(row.job.global_batch * row.job.sequence),
               factor = recomputed ? 8 : 6;
  const double table = static_cast<double>(m.vocab * m.width),
               whole = static_cast<double>(m.active_parameter_count());
  const double positions = m.learned_positions ? static_cast<double>(m.context * m.width) : 0;
  // The input table is looked up; the output head is multiplied with, and never computed again.
  const double body = whole - positions - table * (m.tied_embeddings ? 1 : 2);
  const double pairs =
      static_cast<double>(m.layers * m.q_width()) * static_cast<double>(row.job.sequence) * 2;
  return tokens * (factor * body + 6 * table + factor * pairs * (causal ? 0.5 : 1));
}

base::Result<std::vector<TrainingRow>> read_training_rows(std::string_view csv, const std::string& where) {
  TW_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::parse(csv, where));
  TW_ASSIGN_OR_RETURN(CsvFields fields, CsvFields::of(table, kColumns));
  std::vector<TrainingRow> rows;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    fields.enter(i);
    TW_RETURN_IF_ERROR(fields.check_numbers(kNumbers));
    rows.push_back(read_row(fields, static_cast<int>(i) + 1));
  }
  return rows;
}

}  // namespace tw::plan
