#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/dtype.h"
#include "io/safetensors_write.h"
#include "model/palette.h"
#include "model/quantize.h"
#include "model/save_parts.h"

namespace tw::model {
namespace {

using base::DType;
using Group = std::vector<float>;

/// The layers' matrices: all that is multiplied but the head, and routers, in which little chooses much.
bool is_palettized(const io::TensorEntry& tensor) {
  return tensor.shape.size() == 2 && tensor.name.starts_with("model.layers.") && tensor.shape[1] % 4 == 0 &&
         !tensor.name.ends_with(".mlp.gate.weight");
}

/// Encodes matrices, groups of rows shared by a team.
class Palettizer {
 public:
  Palettizer(const ModelToSave& model, const QuantizeOptions& options) : model_(model), options_(options) {}

  /// One matrix in so many bits, and what is lost by it.
  base::Result<Palettized> encode(const io::TensorEntry& tensor, int bits, PaletteError& error) const {
    Palettized to(bits, tensor.shape[0], tensor.shape[1]);
    std::vector<PaletteError> errors(static_cast<std::size_t>(to.groups()));
    TW_RETURN_IF_ERROR(on_team(options_.team, [&](int worker, int workers) {
      return encode_groups(tensor, worker, workers, to, errors);
    }));
    for (const PaletteError& one : errors)  // in order, whatever the workers
      error.lost += one.lost, error.whole += one.whole;
    return to;
  }

 private:
  base::Status encode_groups(const io::TensorEntry& tensor, int worker, int workers, Palettized& to,
                             std::vector<PaletteError>& errors) const {
    RowReader reader(tensor, model_.config, spec::RopeStyle::kHalfSplit);
    const std::span<const float> importance = importance_of(tensor);
    for (std::int64_t group = worker; group < to.groups(); group += workers) {
      Group values;
      const std::int64_t end = std::min((group + 1) * kPaletteRows, to.rows);
      for (std::int64_t row = group * kPaletteRows; row < end; ++row) {
        TW_ASSIGN_OR_RETURN(const std::span<const float> read, reader.read(row, DType::kF16));
        values.insert(values.end(), read.begin(), read.end());
      }
      palettize(to, group, values, importance, errors[static_cast<std::size_t>(group)]);
    }
    return base::Ok{};
  }

  std::span<const float> importance_of(const io::TensorEntry& tensor) const {
    if (options_.importance == nullptr) return {};
    const auto found = options_.importance->find(tensor.name);
    if (found == options_.importance->end()) return {};
    return found->second;
  }

  const ModelToSave& model_;
  const QuantizeOptions& options_;
};

/// A matrix that may have either, and the share of its outputs' energy that 2 bits lose more than 4.
struct Choice {
  std::size_t matrix = 0;
  double elements = 0, loss = 0;
};

/// Those that have 2 bits: the least lost for each bit saved first, until the mean is at most `bits`.
std::vector<std::size_t> in_two_bits(std::vector<Choice> choices, double bits) {
  double all = 0, wanted = 0;
  for (const Choice& choice : choices) all += choice.elements;
  wanted = all * (4 - bits) / 2;  // elements that must have 2 bits
  std::ranges::sort(choices, {}, [](const Choice& c) { return std::pair(c.loss / c.elements, c.matrix); });
  std::vector<std::size_t> chosen;
  for (const Choice& choice : choices) {
    if (wanted <= 0) break;
    chosen.push_back(choice.matrix);
    wanted -= choice.elements;
  }
  return chosen;
}

double share(const PaletteError& error) {
  return error.whole > 0 ? error.lost / error.whole : 0;
}

/// The palettes of a model's matrices; none for the tensors that stay as they are.
base::Result<std::vector<std::optional<Palettized>>> palettize_all(const ModelToSave& model, double bits,
                                                                   const QuantizeOptions& options) {
  const Palettizer palettizer(model, options);
  std::vector<std::optional<Palettized>> all(model.tensors.size()), smaller(model.tensors.size());
  std::vector<Choice> choices;
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    if (options.progress)
      options.progress(static_cast<double>(i) / static_cast<double>(model.tensors.size()));
    const io::TensorEntry& tensor = model.tensors[i];
    if (!is_palettized(tensor)) continue;
    PaletteError four, two;
    if (bits > 2) {
      TW_ASSIGN_OR_RETURN(all[i], palettizer.encode(tensor, 4, four));
    }
    if (bits < 4) {
      TW_ASSIGN_OR_RETURN(smaller[i], palettizer.encode(tensor, 2, two));
    }
    choices.push_back({i, static_cast<double>(tensor.elements()), share(two) - share(four)});
  }
  for (const std::size_t i : in_two_bits(choices, bits)) all[i] = std::move(smaller[i]);
  return all;
}

/// A folder's tensors with their bytes, which `memory` holds where they are made.
base::Result<std::vector<io::TensorEntry>> folder_entries(const ModelToSave& model,
                                                          const std::vector<std::optional<Palettized>>& all,
                                                          std::vector<std::vector<std::byte>>& memory) {
  std::vector<io::TensorEntry> entries;
  memory.resize(model.tensors.size());
  const std::vector<StoredTensor> stored = folder_tensors(model);
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const io::TensorEntry& tensor = model.tensors[i];
    const std::string& name = stored[i].name;
    if (!all[i]) {
      TW_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes,
                          encoded(tensor, model.config, spec::RopeStyle::kHalfSplit, DType::kF16, memory[i]));
      entries.push_back({name, DType::kF16, stored[i].shape, bytes.data(), bytes.size()});
      continue;
    }
    const Palettized& p = *all[i];
    entries.push_back({name + kCodes,
                       DType::kI8,
                       {p.rows, static_cast<std::int64_t>(p.row_bytes())},
                       p.codes.data(),
                       p.codes.size()});
    const auto tables = std::as_bytes(std::span(p.tables));
    entries.push_back(
        {name + kTables, DType::kF16, {p.groups(), std::int64_t{1} << p.bits}, tables.data(), tables.size()});
  }
  return entries;
}

}  // namespace

base::Status save_palettized(const std::string& folder, const ModelToSave& model, double bits,
                             const QuantizeOptions& options) {
  TW_RETURN_IF_ERROR(check_tensors(model));
  if (std::ranges::any_of(folder_tensors(model),
                          [](const StoredTensor& t) { return t.parts.size() > 1 || t.transposed; }))
    return base::error(
        base::Code::kUnsupported,
        "palettes of the family {}, whose files join layers, cannot be written: quantize it to a .gguf file",
        model.config.architecture);
  TW_ASSIGN_OR_RETURN(base::OrderedJson config,
                      hugging_face_config(model.config, model.tokenizer, DType::kF16));
  config["quantization_config"] = {{"quant_method", kPaletteMethod}};
  TW_ASSIGN_OR_RETURN(const auto palettes, palettize_all(model, bits, options));
  std::vector<std::vector<std::byte>> memory;
  TW_ASSIGN_OR_RETURN(const std::vector<io::TensorEntry> entries, folder_entries(model, palettes, memory));
  return write_folder(folder, model, config, [&](const std::string& partial) {
    return io::write_safetensors(partial + "/model.safetensors", {{"format", "tokenworks"}}, entries);
  });
}

}  // namespace tw::model
