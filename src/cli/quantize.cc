#include <cctype>
#include <cstdio>

#include "cli/commands.h"
#include "cli/startup.h"
#include "model/save.h"

namespace tw::cli {
namespace {

struct Options {
  std::string model, out, type = "f16";
};

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

base::Result<base::DType> type_named(const std::string& name) {
  for (const base::DType type : {base::DType::kF32, base::DType::kF16, base::DType::kBF16}) {
    if (upper(name) == base::dtype_name(type)) return type;
  }
  return base::error(base::Code::kInvalidArgument, "there is no type {}; f32, f16 and bf16 can be written",
                     io::quote_text(name));
}

base::Status convert(const Options& options) {
  TW_ASSIGN_OR_RETURN(const base::DType type, type_named(options.type));
  TW_ASSIGN_OR_RETURN(const FoundModel found, find_model(options.model, false));
  TW_ASSIGN_OR_RETURN(const auto files, model::ModelFiles::open(found.path));
  TW_ASSIGN_OR_RETURN(const model::ModelToSave model, model::model_to_save(*files));
  if (options.out.ends_with(".gguf")) return model::save_gguf(options.out, model, type);
  return model::save_folder(options.out, model, type);
}

int quantize(const Options& options) {
  const base::Status status = convert(options);
  if (!status.ok()) return fail(status.error());
  std::printf("%s\n", options.out.c_str());
  return 0;
}

}  // namespace

void add_quantize(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "quantize", "Write a model in another type, as a GGUF file or a Hugging Face folder.");
  verb->add_option("model", options->model, "file, folder or name in the store")->required();
  verb->add_option("out", options->out, "a file that ends in .gguf, or a folder")->required();
  verb->add_option("--type", options->type, "f32, f16 or bf16")->capture_default_str();
  verb->footer(
      "Examples:\n  tokenworks quantize my-model my-model.gguf --type bf16\n"
      "  tokenworks quantize model.gguf a-folder --type f32    (for transformers)");
  verb->callback([options, &exit_code] { exit_code = quantize(*options); });
}

}  // namespace tw::cli
