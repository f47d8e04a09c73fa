// An opened model on disk, GGUF or a Hugging Face folder: what the loader and `inspect` read it through.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mmap.h"
#include "io/tensor_file.h"
#include "model/model_card.h"
#include "text/tokenizer.h"

namespace tw::model {

/// A model in one file, and what tells one version of it from another.
struct SourceFile {
  std::string path;
  std::uint64_t bytes = 0;
  base::FileInfo info;
  std::uint64_t header_hash = 0;  ///< XXH64 of what stands before the tensors' data
};

/// A Hugging Face tokenizer as its files say it.
struct TokenizerFiles {
  std::string json;    ///< tokenizer.json
  std::string config;  ///< tokenizer_config.json; may be empty
};

/// Owns the mappings; everything it hands out lives as long as it does. Immutable, thread-safe.
class ModelFiles {
 public:
  /// `path`: a .gguf file, or a folder with config.json and safetensors. Errors name the file and what to do.
  static base::Result<std::unique_ptr<ModelFiles>> open(const std::string& path);
  virtual ~ModelFiles() = default;

  virtual const char* format() const = 0;  ///< "GGUF v3" or "Hugging Face folder"
  virtual base::Result<spec::ModelConfig> config() const = 0;
  /// The tensor of one of our parameters, by our name. Errors: kNotFound; kUnsupported for a type that cannot
  /// be read.
  virtual base::Result<const io::TensorEntry*> get(const std::string& parameter) const = 0;
  /// For messages: the shape that the file's tensor has, or should have, where our parameter has `shape`.
  /// Some families fuse layers, or have them the other way round.
  virtual std::vector<std::int64_t> file_shape(const std::string& parameter,
                                               std::vector<std::int64_t> shape) const = 0;
  virtual std::vector<const io::TensorEntry*> tensors() const = 0;
  virtual base::Result<text::TokenizerSpec> tokenizer() const = 0;
  /// Empty texts for a model that has its tokenizer in another form.
  virtual base::Result<TokenizerFiles> tokenizer_files() const { return TokenizerFiles{}; }
  /// Empty: the model has none.
  virtual base::Result<std::string> chat_template() const = 0;
  virtual base::Result<GenerationDefaults> defaults() const { return GenerationDefaults{}; }
  /// Tokens that end an answer besides the tokenizer's own.
  virtual std::vector<std::int32_t> end_tokens() const { return {}; }
  /// Of weights in a form of our own, for people; empty: what the tensors' types say.
  virtual std::string quantization() const { return {}; }
  /// Of a model in one file only.
  virtual std::optional<SourceFile> source() const { return std::nullopt; }
  /// Metadata for people: key and printable value.
  virtual std::vector<std::pair<std::string, std::string>> metadata() const { return {}; }
};

/// The implementations behind open().
base::Result<std::unique_ptr<ModelFiles>> open_gguf_model(const std::string& path);
base::Result<std::unique_ptr<ModelFiles>> open_hugging_face_model(const std::string& folder);

/// Reads configuration, tokenizer, template and sampling defaults. The name is that of the file or folder.
base::Result<ModelCard> read_card(const ModelFiles& files, const std::string& path);

}  // namespace tw::model
