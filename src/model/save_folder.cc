#include "base/mmap.h"
#include "io/atomic_folder.h"
#include "io/safetensors_write.h"
#include "model/save_parts.h"
#include "model/tensor_place.h"
#include "text/tokenizer_json_write.h"

namespace tw::model {
namespace {

using base::DType;
using base::OrderedJson;

/// What may lie in a folder that a save takes the place of.
constexpr std::string_view kReplaceable[] = {
    "config.json", "generation_config.json",  "model.safetensors",     "model.safetensors.index.json",
    "model-0*",    "tokenizer.json",          "tokenizer_config.json", "tokenizer.model",
    "vocab.json",  "special_tokens_map.json", "chat_template.jinja",   "merges.txt"};

base::Status write_text(const std::string& folder, const char* name, const std::string& text) {
  return base::write_file_atomically(folder + "/" + name, text);
}

std::string pretty(const OrderedJson& json) {
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

base::Result<TokenizerFiles> tokenizer_texts(const ModelToSave& model) {
  auto [json, config] = model.tokenizer_files;
  if (json.empty()) {
    TW_ASSIGN_OR_RETURN(json, text::tokenizer_json(model.tokenizer));
  }
  if (config.empty()) {
    config = text::tokenizer_config_json(model.tokenizer, model.config.context, model.chat_template);
  } else if (!model.chat_template.empty()) {
    TW_ASSIGN_OR_RETURN(OrderedJson root, base::parse_ordered_json(config));
    root["chat_template"] = model.chat_template;
    config = pretty(root);
  }
  return TokenizerFiles{std::move(json), std::move(config)};
}

/// The tensors as they will lie in the files, cut into files of at most `limit` bytes (or one tensor).
std::vector<std::vector<io::TensorEntry>> shards_of(const std::vector<StoredTensor>& tensors, DType type,
                                                    std::uint64_t limit) {
  std::vector<std::vector<io::TensorEntry>> shards(1);
  std::uint64_t bytes = 0;
  for (const StoredTensor& tensor : tensors) {
    io::TensorEntry saved{.name = tensor.name, .dtype = type, .shape = tensor.shape};
    saved.bytes = base::row_bytes(type, saved.elements());
    if (!shards.back().empty() && bytes + saved.bytes > limit) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += saved.bytes;
    shards.back().push_back(std::move(saved));
  }
  return shards;
}

/// The bytes of stored tensors in a plain type; each valid until the next call.
class FolderEncoder {
 public:
  FolderEncoder(const ModelToSave& model, DType type) : model_(model), type_(type) {}

  base::Result<std::span<const std::byte>> encode(const StoredTensor& tensor) {
    if (tensor.parts.size() == 1 && !tensor.transposed) return part(tensor.parts[0]);
    rows_.clear();
    for (const std::size_t i : tensor.parts) {
      TW_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, part(i));
      rows_.insert(rows_.end(), bytes.begin(), bytes.end());
    }
    if (!tensor.transposed) return std::span<const std::byte>(rows_);
    turned_.resize(rows_.size());
    const std::int64_t inputs = tensor.shape[0], outputs = tensor.shape[1];
    transpose_plain(type_, rows_.data(), outputs, inputs, 0, inputs, turned_.data());
    return std::span<const std::byte>(turned_);
  }

 private:
  base::Result<std::span<const std::byte>> part(std::size_t i) {
    return encoded(model_.tensors[i], model_.config, spec::RopeStyle::kHalfSplit, type_, memory_);
  }

  const ModelToSave& model_;
  DType type_;
  std::vector<std::byte> memory_, rows_, turned_;
};

base::Status write_weights(const std::string& folder, const ModelToSave& model, DType type,
                           std::uint64_t limit) {
  const std::vector<StoredTensor> tensors = folder_tensors(model);
  const auto shards = shards_of(tensors, type, limit);
  FolderEncoder encoder(model, type);
  OrderedJson map = OrderedJson::object();
  std::uint64_t total = 0;
  std::size_t first = 0;  // of this shard, in the list of all
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    const io::TensorBytes data = [&](std::size_t at) { return encoder.encode(tensors[first + at]); };
    TW_RETURN_IF_ERROR(io::write_safetensors(folder + "/" + name, {{"format", "pt"}}, shards[i], data));
    for (const io::TensorEntry& tensor : shards[i]) {
      map[tensor.name] = name;
      total += tensor.bytes;
    }
    first += shards[i].size();
  }
  if (shards.size() == 1) return base::Ok{};
  const OrderedJson index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  return write_text(folder, "model.safetensors.index.json", pretty(index));
}

}  // namespace

base::Status write_folder(const std::string& folder, const ModelToSave& model, const OrderedJson& config,
                          const std::function<base::Status(const std::string&)>& weights) {
  TW_ASSIGN_OR_RETURN(const TokenizerFiles tokenizer, tokenizer_texts(model));
  TW_ASSIGN_OR_RETURN(io::AtomicFolder target, io::AtomicFolder::create(folder, kReplaceable));
  const std::string& partial = target.partial_path();
  TW_RETURN_IF_ERROR(write_text(partial, "config.json", pretty(config)));
  TW_RETURN_IF_ERROR(write_text(partial, "generation_config.json", pretty(hugging_face_generation(model))));
  TW_RETURN_IF_ERROR(write_text(partial, "tokenizer.json", tokenizer.json));
  TW_RETURN_IF_ERROR(write_text(partial, "tokenizer_config.json", tokenizer.config));
  TW_RETURN_IF_ERROR(weights(partial));
  return target.commit();
}

base::Status save_folder(const std::string& folder, const ModelToSave& model, DType type,
                         std::uint64_t shard_bytes) {
  if (type != DType::kF32 && type != DType::kF16 && type != DType::kBF16)
    return base::error(base::Code::kInvalidArgument, "a folder holds F32, F16 or BF16, not {}",
                       base::dtype_name(type));
  TW_RETURN_IF_ERROR(check_tensors(model));
  TW_ASSIGN_OR_RETURN(const OrderedJson config, hugging_face_config(model.config, model.tokenizer, type));
  return write_folder(folder, model, config, [&](const std::string& partial) {
    return write_weights(partial, model, type, shard_bytes);
  });
}

}  // namespace tw::model
