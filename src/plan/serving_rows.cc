#include "plan/serving_rows.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "plan/csv_fields.h"

namespace tw::plan {
namespace {

constexpr std::string_view kColumns[] = {
    "system",   "model",     "accelerator", "count",       "precision",
    "scenario", "input_len", "output_len",  "concurrency", "throughput_tok_s",
    "ttft_ms",  "itl_ms",    "source",      "parallel",    "note"};
/// Of these, those that hold nothing or a number.
constexpr std::string_view kNumbers[] = {"count",   "input_len", "output_len",      "concurrency",
                                         "ttft_ms", "itl_ms",    "throughput_tok_s"};

/// Letters and digits alone, small.
std::string squeezed(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

struct Known {
  std::string_view written, meant;
};

/// What the text begins with or holds, the first of a list; empty: none.
std::string_view meant(const std::string& text, std::span<const Known> list) {
  for (const Known& known : list) {
    if (text.find(known.written) != std::string::npos) return known.meant;
  }
  return {};
}

/// The preset behind a published name: by what several names share, or a preset's own name within it.
const PlannedModel* model_of(const std::string& name) {
  static constexpr Known kNames[] = {
      {"llama318b", "llama-3-8b"},     {"llama3170b", "llama-3-70b"}, {"llama3370b", "llama-3-70b"},
      {"llama31405b", "llama-3-405b"}, {"llama270b", "llama-2-70b"},  {"deepseekr1", "deepseek-v3"},
      {"deepseekv3", "deepseek-v3"},   {"kimik2", "kimi-k2"},         {"llama4maverick", "llama-4-maverick"}};
  const std::string own = squeezed(name);
  const std::string_view alias = meant(own, kNames);
  const PlannedModel* best = nullptr;
  for (const PlannedModel& m : preset_models()) {
    if (!alias.empty() ? m.name != alias : own.find(squeezed(m.name)) == std::string::npos) continue;
    if (best == nullptr || m.name.size() > best->name.size()) best = &m;
  }
  return best;
}

base::Result<const Accelerator*> accelerator_of(const std::string& name) {
  // As MLPerf's submitters write them.
  static constexpr Known kNames[] = {{"h100sxm", "H100 SXM"},
                                     {"h100pcie", "H100 PCIe"},
                                     {"h100nvl", "H100 NVL (per GPU of the pair)"},
                                     {"h200sxm", "H200 SXM"},
                                     {"h200nvl", "H200 NVL"},
                                     {"gh200gracehoppersuperchip96", "GH200 (96GB HBM3)"},
                                     {"gh200", "GH200 (144GB HBM3e)"},
                                     {"b200sxm", "B200 SXM (HGX)"},
                                     {"l40s", "L40S"}};
  const std::string own = squeezed(name);
  // A mixed fleet is none of the two.
  const bool mixed = own.find("mi300x") != std::string::npos && own.find("mi325x") != std::string::npos;
  if (!mixed && own.find("mi300x") != std::string::npos) return Catalogue::shipped().find("MI300X");
  if (!mixed && own.find("mi325x") != std::string::npos) return Catalogue::shipped().find("MI325X");
  const std::string_view known = meant(own, kNames);
  if (!known.empty()) return Catalogue::shipped().find(known);
  return Catalogue::shipped().find(name.starts_with("NVIDIA ") ? name.substr(7) : name);
}

/// No accelerators are divided further, and no instance runs or is sent more at once.
constexpr double kMostSize = 1 << 14, kMostInFlight = 1 << 16;

/// "tp4 pp1 adp moe_tp1 bs8" by name; what has no number is left out. `strange`: a word whose number is no
/// size.
std::map<std::string, int> sizes_of(const std::string& text, std::string* strange = nullptr) {
  std::map<std::string, int> sizes;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    const std::size_t digit = word.find_first_of("0123456789");
    if (digit != std::string::npos && digit > 0) {
      const double size = parse_number(word.substr(digit)).value_or(0);
      if (size >= 0 && size <= kMostSize && size == std::floor(size))
        sizes[word.substr(0, digit)] = static_cast<int>(size);
      else if (strange != nullptr)
        *strange = word;
    }
    begin = end + 1;
  }
  return sizes;
}

/// How ranks are divided, and how many instances share the row's requests.
void divide(const CsvFields& f, ServingRow& row) {
  const std::map<std::string, int> sizes = sizes_of(f.text("parallel"));
  const auto at = [&](const char* name) {
    const auto found = sizes.find(name);
    return found == sizes.end() ? 1 : std::max(1, found->second);
  };
  int tensor = at("tp"), attention = at("adp");
  const int moe_tensor = at("moe_tp"), moe_expert = at("moe_ep");
  const bool experts = row.model->config.experts.count > 0;
  bool multiplied = false;
  // InferenceX runs tp and ep on the same ranks, and the table has their product as the number of ranks.
  for (int* axis : {&tensor, &attention}) {
    if (experts && moe_tensor > 1 && moe_tensor == moe_expert && *axis == moe_tensor * moe_expert) {
      *axis = moe_tensor;
      multiplied = true;
    }
  }
  if (experts && !multiplied) attention = std::max(attention, moe_tensor * moe_expert / tensor);
  row.split.tensor = tensor;
  row.split.pipeline = at("pp");
  if (experts) {
    row.split.attention = attention;
    // Experts that are dealt out and cut besides are counted as cut alone.
    const int ranks = tensor * attention;
    row.split.expert = attention > 1 || (moe_expert > 1 && (moe_tensor == 1 || multiplied)) ? ranks : 1;
  }
  const double instances =
      multiplied ? 1 : std::max(1.0, row.accelerators / static_cast<double>(row.split.ranks()));
  const double groups = instances * row.split.attention, batch = at("bs");
  const double stated = f.number("concurrency");
  row.load.concurrency = std::max(1.0, (stated > 0 ? stated : batch * groups) / groups);
  // Where the table has both, the smaller one is what one instance had: the other counts hidden ones.
  if (!multiplied && sizes.count("bs") != 0) row.load.concurrency = std::min(row.load.concurrency, batch);
}

Precision precision_of(const CsvFields& f) {
  std::string text = squeezed(f.text("precision"));
  if (text.find("4") != std::string::npos && text.find("fp8") == std::string::npos) return Precision::kFp4;
  return text.find("8") != std::string::npos ? Precision::kFp8 : Precision::kBf16;
}

/// Why the row cannot be predicted; empty: it can. `listed`: it is not even scored.
std::string problem_of(const CsvFields& f, const ServingRow& row, bool& listed) {
  listed = true;
  if (row.model == nullptr) return "its model has no public configuration that is known here";
  if (const auto found = accelerator_of(f.text("accelerator")); !found.ok()) return found.error().message;
  if (f.text("parallel").starts_with("disagg"))
    return f.has("parallel", ":x(") ? "it is disaggregated and hides its worker counts"
                                    : "it is disaggregated: prompts and answers run on different ranks";
  if (!f.has("scenario", "MLPerf") && row.output_token <= 0) return "it states no time per token";
  if (row.load.input < 1 || row.load.output < 1) return "it does not state its lengths";
  if (!f.has("scenario", "MLPerf") && row.load.output < 2)
    return "its answers have one token: there is no time between tokens";
  if (row.load.concurrency > kMostInFlight)
    return fmt::format("{:g} requests in flight of one instance are more than {:g}", row.load.concurrency,
                       kMostInFlight);
  std::string strange;
  sizes_of(f.text("parallel"), &strange);
  if (!strange.empty()) return fmt::format("parallel has {}, which is no size", strange);
  const auto part = row.model->config.part(row.split.tensor, row.split.expert);
  const spec::Experts& e = row.model->config.experts;
  constexpr std::int64_t kTile = 128;  // columns that a kernel of products computes at once
  if (e.count > 0 && row.split.expert == 1 && e.width / row.split.tensor < std::min(kTile, e.width))
    return fmt::format("tp {} would cut its experts to {} columns: a fleet's total, whose workers are hidden",
                       row.split.tensor, e.width / row.split.tensor);
  if (!part.ok()) return "its division is none that the model allows: " + part.error().message;
  listed = false;
  return {};
}

/// aiconfigurator's own runs, of deployments that its generator wrote (ai-dynamo/aiconfigurator,
/// generator/rule_plugin/benchmark/*.rule and backend_templates/benchmark/bench_run.sh.j2). TensorRT-LLM
/// computes at most batch + input + 1,500 tokens a step. The client has 100 prompts (aiperf's default), which
/// it sends over and over, two requests of each stream to warm up and then ten: vLLM, whose cache keeps
/// prompts unless it is told not to, computes the last block of 16 tokens alone of those that it has seen.
/// TensorRT-LLM's template switches that off (enable_block_reuse: false).
void read_generated(const CsvFields& f, ServingRow& row) {
  constexpr double kMore = 1500, kBlock = 16, kPrompts = 100, kWarmUp = 2, kRequests = 10;
  if (!f.has("source", "aiconfigurator") || !f.has("source", "_epnone_")) return;
  if (row.system.starts_with("trtllm")) row.load.step_tokens = row.load.concurrency + row.load.input + kMore;
  if (!row.system.starts_with("vllm")) return;
  const double streams = std::max(row.load.concurrency, f.number("concurrency"));
  row.load.reused = std::max(0.0, row.load.input - kBlock);
  row.load.fresh = std::clamp((kPrompts - kWarmUp * streams) / (kRequests * streams), 0.0, 1.0);
}

/// MLPerf's Llama-2-70B runs of OpenOrca's questions: 294 tokens on average (MLCommons' dataset of 24,576),
/// which is assumed; answers as the row states. Weights are in the narrowest format that the accelerator
/// multiplies: logs name what was submitted before quantization.
void read_mlperf(const CsvFields& f, ServingRow& row) {
  row.load.input = 294;
  if (row.accelerator == nullptr) return;
  const Accelerator& a = *row.accelerator;
  row.precision = a[Field::kFp4] && a.vendor == "NVIDIA" ? Precision::kFp4
                  : a[Field::kFp8]                       ? Precision::kFp8
                                                         : precision_of(f);
}

ServingRow read_row(const CsvFields& f, int number) {
  ServingRow row;
  row.number = number;
  row.system = f.text("system"), row.model_name = f.text("model");
  row.accelerator_name = f.text("accelerator"), row.scenario = f.text("scenario");
  row.parallel = f.text("parallel");
  row.model = model_of(row.model_name);
  row.accelerators = std::max(1.0, f.number("count"));
  row.precision = precision_of(f);
  row.load.input = f.number("input_len"), row.load.output = f.number("output_len");
  row.output_token = f.number("itl_ms") * 1e-3, row.first_token = f.number("ttft_ms") * 1e-3;
  row.tokens_per_second = f.number("throughput_tok_s");
  if (const auto found = accelerator_of(row.accelerator_name); found.ok()) row.accelerator = *found;
  const bool mlperf = f.has("scenario", "MLPerf");
  if (mlperf) {
    if (row.scenario.ends_with("ffline") && row.model_name.starts_with("llama2-70b"))
      row.set = "serve-mlperf";
    read_mlperf(f, row);
  } else if (row.model != nullptr) {
    row.set = row.model->config.experts.count > 0 ? "serve-moe" : "serve-dense";
    divide(f, row);
  }
  // InferenceX draws lengths from 0.8 of the stated ones up (--random-range-ratio); its rows have dates.
  row.load.shortest =
      f.has("source", "id=20") || f.has("source", "id=dsr1") || f.has("source", "id=gptoss") ? 0.8 : 1;
  // Its recipes for SGLang look for requests every 10 steps of answers, and every 30 from 16 in flight on
  // (--scheduler-recv-interval).
  if (row.load.shortest < 1 && row.system.starts_with("sglang"))
    row.load.receive = f.number("concurrency") >= 16 ? 30 : 10;
  read_generated(f, row);
  bool listed = false;
  row.problem = problem_of(f, row, listed);
  row.scored = !listed && !row.set.empty();
  return row;
}

}  // namespace

double ServingRow::round() const {
  const std::size_t at = scenario.find(" v");
  if (at == std::string::npos) return 0;
  const std::size_t end = std::min(scenario.find(' ', at + 2), scenario.size());
  return parse_number(scenario.substr(at + 2, end - at - 2)).value_or(0);
}

std::string ServingRow::group() const {
  return fmt::format("{} {} {} {} {}", model == nullptr ? model_name : model->name,
                     accelerator == nullptr ? accelerator_name : accelerator->name,
                     static_cast<int>(precision), split.tensor, split.attention);
}

base::Result<std::vector<ServingRow>> read_serving_rows(std::string_view csv, const std::string& where) {
  TW_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::parse(csv, where));
  TW_ASSIGN_OR_RETURN(CsvFields fields, CsvFields::of(table, kColumns));
  std::vector<ServingRow> rows;
  rows.reserve(table.rows());
  for (std::size_t i = 0; i < table.rows(); ++i) {
    fields.enter(i);
    TW_RETURN_IF_ERROR(fields.check_numbers(kNumbers));
    rows.push_back(read_row(fields, static_cast<int>(i) + 1));
  }
  return rows;
}

}  // namespace tw::plan
