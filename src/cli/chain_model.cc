#include "cli/chain_model.h"

#include <stdlib.h>  // mkdtemp is no part of C++

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/dtype.h"
#include "model/families.h"
#include "model/param_store.h"
#include "model/quantize.h"
#include "model/transformer.h"
#include "plan/random_floats.h"

namespace tw::cli {
namespace {

constexpr std::int64_t kVocab = 3072, kContext = 1024;

spec::ModelConfig config_of(const ChainShape& shape) {
  spec::ModelConfig c;
  model::set_family(c, "llama");
  c.name = "chain";
  c.layers = shape.layers;
  c.width = shape.width;
  c.head_dim = shape.head_dim;
  c.heads = shape.width / shape.head_dim;
  c.kv_heads = c.heads % 2 == 0 ? c.heads / 2 : c.heads;
  c.ffn_width = shape.ffn_width;
  c.vocab = kVocab;
  c.context = kContext;
  return c;
}

/// Words that mean nothing: "t0", "t1", ...
text::TokenizerSpec tokenizer_of(std::int64_t vocab) {
  text::TokenizerSpec spec;
  spec.kind = text::TokenizerKind::kBpe;
  spec.pre = "default";
  for (std::int64_t i = 0; i < vocab; ++i) spec.tokens.push_back(fmt::format("t{}", i));
  spec.types.assign(spec.tokens.size(), text::TokenType::kNormal);
  return spec;
}

}  // namespace

base::Result<ChainFolder> ChainFolder::make() {
  std::error_code failed;
  const auto temporary = std::filesystem::temp_directory_path(failed);
  std::string name = (failed ? "/tmp" : temporary.string()) + "/tokenworks-calibrate-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr)
    return base::Error{base::Code::kIo, "no folder for models that are measured can be made", name};
  return ChainFolder(std::move(name));
}

ChainFolder::ChainFolder(ChainFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}

ChainFolder::~ChainFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

base::Result<std::string> write_chain_model(const std::string& folder, const ChainShape& shape,
                                            base::DType type, int threads) {
  model::ModelToSave model;
  model.config = config_of(shape);
  model.tokenizer = tokenizer_of(kVocab);
  model::ParamStore store;
  const model::Transformer transformer(model.config, store);
  std::int64_t largest = 0;
  for (const model::Param& param : store.params()) largest = std::max(largest, param.elements());
  std::vector<float> numbers = plan::random_floats(static_cast<std::size_t>(largest));
  for (float& x : numbers) x *= 0.05F;
  // All of them view the same numbers: what they are changes no time.
  for (const model::Param& param : store.params()) {
    model.tensors.push_back({.name = param.name, .dtype = base::DType::kF32, .shape = param.shape});
    model.tensors.back().data = reinterpret_cast<const std::byte*>(numbers.data());
    model.tensors.back().bytes = static_cast<std::size_t>(param.elements()) * sizeof(float);
  }
  const std::string name(base::dtype_name(type));
  std::string file = fmt::format("{}/{}-{}-{}.gguf", folder, name, shape.layers, shape.width);
  base::Team team(threads);
  model::QuantizeOptions options;
  options.team = &team;
  TW_RETURN_IF_ERROR(model::save_quantized(file, model, name, options));
  return file;
}

}  // namespace tw::cli
