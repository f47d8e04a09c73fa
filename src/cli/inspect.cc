#include <cstdio>
#include <map>
#include <vector>

#include "cli/commands.h"
#include "cli/startup.h"
#include "io/packed_file.h"

namespace tw::cli {
namespace {

struct Options {
  std::string model;
  bool json = false, tensors = false;
};

/// The files of packed weights that this model has, of whatever version.
std::vector<std::string> packed_files(const std::string& path) {
  std::vector<std::string> found;
  for (const std::uint32_t rows : {8U, 16U}) {
    for (const std::string& place : io::packed_places(path, rows)) {
      if (io::PackedFile::open(place).ok()) found.push_back(place);
    }
  }
  return found;
}

base::OrderedJson describe(const model::ModelFiles& files, const model::ModelCard& card) {
  const spec::ModelConfig& c = card.config;
  base::OrderedJson j;
  j["path"] = card.path;
  j["format"] = files.format();
  j["architecture"] = c.architecture;
  j["name"] = c.name;
  j["license"] = c.license;
  j["parameters"] = c.parameter_count();
  j["bytes"] = card.bytes;
  j["quantization"] = card.quantization;
  j["layers"] = c.layers;
  j["width"] = c.width;
  j["heads"] = c.heads;
  j["kv_heads"] = c.kv_heads;
  j["head_dim"] = c.head_dim;
  j["ffn_width"] = c.ffn_width;
  if (c.experts.count > 0)
    j["experts"] = {{"count", c.experts.count},
                    {"per_token", c.experts.chosen},
                    {"ffn_width", c.experts.width},
                    {"shared_ffn_width", c.experts.shared_ffn()}};
  j["vocab"] = c.vocab;
  j["context"] = c.context;
  j["rope_theta"] = c.rope_theta;
  j["norm_epsilon"] = c.norm_epsilon;
  j["tied_embeddings"] = c.tied_embeddings;
  j["packed_weights"] = packed_files(card.path);
  j["tokenizer"] = {
      {"tokens", card.tokenizer->size()},
      {"bos", card.tokenizer->bos() ? base::OrderedJson(*card.tokenizer->bos()) : base::OrderedJson()},
      {"eos", card.tokenizer->eos() ? base::OrderedJson(*card.tokenizer->eos()) : base::OrderedJson()}};
  j["chat_template"] = card.chat_template_source;
  j["metadata"] = base::OrderedJson::array();
  for (const auto& [key, value] : files.metadata()) j["metadata"].push_back({{"key", key}, {"value", value}});
  for (const io::TensorEntry* tensor : files.tensors()) {
    j["tensors"].push_back({{"name", tensor->name},
                            {"type", base::dtype_name(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"bytes", tensor->bytes}});
  }
  return j;
}

void print_tensors(const model::ModelFiles& files, bool each) {
  std::map<std::string_view, std::pair<int, std::size_t>> by_type;
  for (const io::TensorEntry* tensor : files.tensors()) {
    auto& [count, bytes] = by_type[base::dtype_name(tensor->dtype)];
    ++count;
    bytes += tensor->bytes;
    if (each)
      std::printf("  %-40s %-5s %-16s %10zu bytes\n", tensor->name.c_str(),
                  std::string(base::dtype_name(tensor->dtype)).c_str(), io::shape_text(tensor->shape).c_str(),
                  tensor->bytes);
  }
  for (const auto& [type, total] : by_type) {
    std::printf("  %-5s %4d tensors %10.2f MB\n", std::string(type).c_str(), total.first,
                static_cast<double>(total.second) / 1e6);
  }
}

void print(const model::ModelFiles& files, const model::ModelCard& card, bool tensors) {
  const spec::ModelConfig& c = card.config;
  std::printf("%s\n  %s, architecture %s%s%s\n", card.path.c_str(), files.format(), c.architecture.c_str(),
              c.name.empty() ? "" : ", ", c.name.c_str());
  std::printf("  %.1f M parameters, %.1f MB, mostly %s%s%s\n", static_cast<double>(c.parameter_count()) / 1e6,
              static_cast<double>(card.bytes) / 1e6, card.quantization.c_str(),
              c.license.empty() ? "" : ", licence ", c.license.c_str());
  std::printf("  %lld layers, width %lld, %lld heads of %lld (%lld for keys and values), feed-forward %lld\n",
              static_cast<long long>(c.layers), static_cast<long long>(c.width),
              static_cast<long long>(c.heads), static_cast<long long>(c.head_dim),
              static_cast<long long>(c.kv_heads), static_cast<long long>(c.ffn_width));
  if (c.experts.count > 0)
    std::printf(
        "  %lld experts of %lld, %lld a token%s: %.1f M parameters that a token meets\n",
        static_cast<long long>(c.experts.count), static_cast<long long>(c.experts.width),
        static_cast<long long>(c.experts.chosen),
        c.experts.shared > 0 ? fmt::format(", and {} for every token", c.experts.shared_ffn()).c_str() : "",
        static_cast<double>(c.active_parameter_count()) / 1e6);
  const std::string positions =
      c.learned_positions ? "learned positions" : fmt::format("rope theta {}", c.rope_theta);
  std::printf("  context %lld, %s, embeddings %s\n", static_cast<long long>(c.context), positions.c_str(),
              c.tied_embeddings ? "tied" : "untied");
  for (const std::string& file : packed_files(card.path))
    std::printf("  packed weights in %s\n", file.c_str());
  std::printf("tokenizer\n  %zu tokens", card.tokenizer->size());
  if (card.tokenizer->bos())
    std::printf(", begins with %s", card.tokenizer->piece(*card.tokenizer->bos()).c_str());
  if (card.tokenizer->eos())
    std::printf(", ends with %s", card.tokenizer->piece(*card.tokenizer->eos()).c_str());
  std::printf("\nchat template\n  %s\n", card.chat_template == nullptr ? "none: prompts are used as they are"
                                         : card.chat_template->mentions("tools") ? "yes, with tools"
                                                                                 : "yes, without tools");
  std::printf("tensors\n");
  print_tensors(files, tensors);
}

int inspect(const Options& options) {
  auto found = find_model(options.model, false);
  if (!found.ok()) return fail(found.error());
  auto files = model::ModelFiles::open(found->path);
  if (!files.ok()) return fail(files.error());
  auto card = model::read_card(**files, found->path);
  if (!card.ok()) return fail(card.error());
  if (options.json)
    std::printf("%s\n", base::dump_json(describe(**files, *card)).c_str());
  else
    print(**files, *card, options.tensors);
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "inspect", "Show what a model file holds: architecture, tensors, tokenizer, template.");
  verb->add_option("model", options->model, "file, folder or name in the store")->required();
  verb->add_flag("--json", options->json, "one JSON document");
  verb->add_flag("--tensors", options->tensors, "list every tensor");
  verb->footer(
      "Examples:\n  tokenworks inspect model.gguf\n  tokenworks inspect smollm2-135m-instruct --json | "
      "python3 -m json.tool");
  verb->callback([options, &exit_code] { exit_code = inspect(*options); });
}

}  // namespace tw::cli
