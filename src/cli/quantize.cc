#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>

#include "base/affinity.h"
#include "base/log.h"
#include "base/mmap.h"
#include "cli/commands.h"
#include "cli/startup.h"
#include "eval/calibration.h"
#include "model/quantize.h"
#include "train/corpus.h"

namespace tw::cli {
namespace {

/// A folder's type that is not a plain one.
constexpr const char* kPalette = "palette";

struct Options {
  std::string model, out, type, calibration;
  double bits = 4;
  int threads = 0;
};

/// A folder's type, if it is one of those.
base::Result<base::DType> folder_type(const std::string& name) {
  for (const base::DType type : {base::DType::kF32, base::DType::kF16, base::DType::kBF16}) {
    std::string known(base::dtype_name(type));
    if (std::equal(name.begin(), name.end(), known.begin(), known.end(),
                   [](unsigned char a, unsigned char b) { return std::toupper(a) == b; }))
      return type;
  }
  return base::error(base::Code::kInvalidArgument,
                     "a folder holds f32, f16, bf16 or a palette; {} wants a file whose name ends in .gguf",
                     io::quote_text(name));
}

void warn_of_source(const model::ModelToSave& model, const std::string& type) {
  const bool exports = type == "f16" || type == "F16";  // all that palettes hold
  const bool quantized =
      std::any_of(model.tensors.begin(), model.tensors.end(), [&](const io::TensorEntry& t) {
        return base::is_quantized(t.dtype) && !(exports && base::palette_bits(t.dtype) != 0);
      });
  if (quantized && !type.ends_with("32"))
    spdlog::warn("this model is quantized already: from one in F16 or BF16 {} would be closer", type);
}

/// Nothing where no text is given.
base::Result<model::Importance> calibrate(const Options& options, const std::string& path) {
  if (options.calibration.empty()) return model::Importance{};
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(options.calibration));
  TW_RETURN_IF_ERROR(train::check_text(text, options.calibration));
  StartOptions start;
  start.isa = wanted_isa({});
  start.engine.threads = options.threads;
  TW_ASSIGN_OR_RETURN(const auto loaded, load_model(path, start));
  const auto progress = [](double done) { draw_progress("calibrating", done); };
  auto importance =
      eval::measure_importance(*loaded, text, {.threads = options.threads, .progress = progress});
  clear_progress();
  if (importance.ok()) return importance;
  return base::Error{importance.error().code, importance.error().message, options.calibration};
}

base::Status check_flags(const Options& options, bool palette, bool file) {
  if (palette && file)
    return base::Error{base::Code::kInvalidArgument,
                       "a palette is for a folder: name one, and export that as .gguf afterwards",
                       options.out};
  if (!options.calibration.empty() && !file && !palette)
    return base::error(base::Code::kInvalidArgument,
                       "--calibration is for files whose name ends in .gguf, and for --type palette");
  return base::Ok{};
}

base::Status convert(const Options& options) {
  TW_ASSIGN_OR_RETURN(const FoundModel found, find_model(options.model, false));
  std::error_code ignored;
  if (std::filesystem::equivalent(found.path, options.out, ignored))
    return base::Error{base::Code::kInvalidArgument, "is the model itself: name another file", options.out};
  TW_ASSIGN_OR_RETURN(const auto files, model::ModelFiles::open(found.path));
  TW_ASSIGN_OR_RETURN(const model::ModelToSave model, model::model_to_save(*files));
  const bool palette = options.type == kPalette, file = options.out.ends_with(".gguf");
  TW_RETURN_IF_ERROR(check_flags(options, palette, file));
  if (!file && !palette) {
    TW_ASSIGN_OR_RETURN(const base::DType type, folder_type(options.type));
    return model::save_folder(options.out, model, type);
  }
  if (file) {
    const auto types = model::quantized_types(model, options.type);
    if (!types.ok()) return types.error();
  }
  warn_of_source(model, options.type);
  TW_ASSIGN_OR_RETURN(const model::Importance importance, calibrate(options, found.path));
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(options.threads, {}));
  base::Team team(std::move(placement));
  const model::QuantizeOptions how{.team = &team, .importance = &importance, .progress = [](double done) {
                                     draw_progress("quantizing", done);
                                   }};
  const base::Status status = palette ? model::save_palettized(options.out, model, options.bits, how)
                                      : model::save_quantized(options.out, model, options.type, how);
  clear_progress();
  return status;
}

int quantize(Options& options) {
  if (options.type.empty()) options.type = options.out.ends_with(".gguf") ? "q4_k_m" : "bf16";
  const base::Status status = convert(options);
  if (!status.ok()) return fail(status.error());
  std::printf("%s\n", options.out.c_str());
  return 0;
}

}  // namespace

void add_quantize(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      app.add_subcommand("quantize", "Write a model in fewer bits: a GGUF file, or a Hugging Face folder.");
  verb->add_option("model", options->model, "file, folder or name in the store")->required();
  verb->add_option("out", options->out, "a file that ends in .gguf, or a folder")->required();
  verb->add_option("--type", options->type,
                   fmt::format("{}; q4_k_m if not given, bf16 for a folder, which may be a palette as well",
                               fmt::join(model::quantization_names(), ", ")));
  verb->add_option("--bits", options->bits, "of a palette: mean bits a weight of the layers' matrices")
      ->check(CLI::Range(2.0, 4.0))
      ->capture_default_str();
  verb->add_option("--calibration", options->calibration,
                   "a text the model reads first: columns of weights that it uses more are kept more exact");
  verb->add_option("--threads", options->threads, "0: as many as this process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->footer(
      "Examples:\n  tokenworks quantize my-model my-model.gguf --type q4_k_m\n"
      "  tokenworks quantize my-model my-model.gguf --type q2_k --calibration wiki.txt\n"
      "  tokenworks quantize model.gguf a-folder --type f32    (for transformers)\n"
      "  tokenworks quantize my-model smaller --type palette --bits 3.5 --calibration wiki.txt");
  verb->callback([options, &exit_code] { exit_code = quantize(*options); });
}

}  // namespace tw::cli
