#include "plan/presets.h"

#include <filesystem>

#include "base/mmap.h"
#include "model/families.h"
#include "model/model_files.h"
#include "plan/csv.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

/// A row of the shipped table; a test reads and checks all of them.
class Row {
 public:
  Row(const CsvTable& table, std::size_t row) : table_(table), row_(row) {}
  const std::string& text(std::string_view name) const { return table_.text(row_, column(name)); }
  std::int64_t number(std::string_view name) const {
    const auto value = table_.number(row_, column(name));
    TW_CHECK(value.ok(), "models.csv has a field that is no number");
    return static_cast<std::int64_t>(value->value_or(0));
  }

 private:
  std::size_t column(std::string_view name) const {
    const auto index = table_.column(name);
    TW_CHECK(index.ok(), "models.csv lacks a column");
    return *index;
  }
  const CsvTable& table_;
  std::size_t row_;
};

PlannedModel model_of(const Row& r) {
  PlannedModel m;
  m.name = r.text("name");
  m.source = r.text("source");
  m.provenance = r.text("provenance") == "assumed" ? Provenance::kAssumed : Provenance::kDatasheet;
  spec::ModelConfig& c = m.config;
  c.name = m.name;
  c.layers = r.number("layers"), c.width = r.number("width"), c.heads = r.number("heads");
  c.kv_heads = r.number("kv_heads"), c.head_dim = r.number("head_dim"), c.ffn_width = r.number("ffn");
  c.vocab = r.number("vocab"), c.context = r.number("context");
  if (r.text("norm") == "layer") c.norm = spec::NormKind::kLayer;
  if (r.text("ffn_kind") == "gelu") c.ffn = spec::FfnKind::kGelu;
  c.learned_positions = r.text("positions") == "learned";
  c.tied_embeddings = r.text("tied") == "yes";
  c.experts = {r.number("experts"),      r.number("chosen"),       r.number("shared"),
               r.number("expert_width"), r.number("dense_layers"), 0};
  c.latent = {r.number("q_rank"), r.number("kv_rank"), r.number("rope_dim"), r.number("value_dim")};
  return m;
}

base::Result<PlannedModel> model_of_file(const std::string& path) {
  PlannedModel m;
  m.name = m.source = path;
  std::string config = path;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    config = (std::filesystem::path(path) / "config.json").string();
  if (config.ends_with(".json")) {
    TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(config));
    const auto json = base::parse_json(text);
    if (!json.ok()) return base::Error{json.error().code, json.error().message, config};
    TW_ASSIGN_OR_RETURN(m.config, model::config_from_hugging_face(*json, config));
    return m;
  }
  TW_ASSIGN_OR_RETURN(const auto files, model::ModelFiles::open(path));
  TW_ASSIGN_OR_RETURN(m.config, files->config());
  return m;
}

}  // namespace

const std::vector<PlannedModel>& preset_models() {
  static const std::vector<PlannedModel> models = [] {
    auto table = CsvTable::parse(shipped("models.csv"), "models.csv");
    TW_CHECK(table.ok(), "models.csv is broken");
    std::vector<PlannedModel> list;
    list.reserve(table->rows());
    for (std::size_t i = 0; i < table->rows(); ++i) list.push_back(model_of(Row(*table, i)));
    return list;
  }();
  return models;
}

base::Result<PlannedModel> find_model(const std::string& name) {
  std::string names;
  for (const PlannedModel& m : preset_models()) {
    if (m.name == name) return m;
    names += (names.empty() ? "" : ", ") + m.name;
  }
  std::error_code ignored;
  if (!name.empty() && std::filesystem::exists(name, ignored)) return model_of_file(name);
  return base::error(base::Code::kNotFound,
                     "there is no model \"{}\": give a config.json, a model's file or folder, or one of {}",
                     name, names);
}

}  // namespace tw::plan
