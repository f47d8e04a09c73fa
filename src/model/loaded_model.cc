#include "model/loaded_model.h"

#include <algorithm>

#include "base/mmap.h"
#include "kernels/ref/dequantize.h"

namespace tw::model {
namespace {

using base::Code;

base::Result<const io::TensorEntry*> entry_for(const ModelFiles& files, const Param& param,
                                               const std::string& path) {
  auto found = files.get(param.name);
  if (!found.ok() && found.error().code == Code::kNotFound) {
    return base::Error{Code::kCorrupt,
                       found.error().message + ": it is not a whole model (download it again)", path};
  }
  if (!found.ok()) return found;
  const io::TensorEntry* entry = *found;
  if (entry->shape != param.shape) {
    return base::Error{Code::kCorrupt,
                       fmt::format("tensor {} is {}, but the configuration says {}", entry->name,
                                   io::shape_text(files.file_shape(param.name, entry->shape)),
                                   io::shape_text(files.file_shape(param.name, param.shape))),
                       path};
  }
  if (entry->dtype == base::DType::kI8 || entry->dtype == base::DType::kI32 ||
      entry->dtype == base::DType::kI64) {
    return base::Error{
        Code::kUnsupported,
        fmt::format("tensor {} has integer type {}", entry->name, base::dtype_name(entry->dtype)), path};
  }
  return entry;
}

base::Status bind_vector(Param& param, const io::TensorEntry& entry) {
  TW_ASSIGN_OR_RETURN(param.storage,
                      tensor::Buffer::allocate(param.elements() * sizeof(float), "a parameter vector"));
  param.vector = {base::DType::kF32, {param.elements()}, param.storage.data()};
  kernels::dequantize_row(entry.dtype, entry.data, param.vector.f32(), param.elements());
  return base::Ok{};
}

/// Of the matrix in `panels_`, with what keeps the next one aligned.
std::size_t panels_size(const kernels::MatmulKernel& kernel, const io::TensorEntry& entry) {
  return (tensor::PackedMatrix::packed_bytes(kernel, entry.dtype, entry.shape[0], entry.shape[1]) + 63) / 64 *
         64;
}

}  // namespace

base::Result<std::shared_ptr<const LoadedModel>> LoadedModel::load(const std::string& path,
                                                                   const LoadOptions& options) {
  std::shared_ptr<LoadedModel> model(new LoadedModel());
  TW_ASSIGN_OR_RETURN(model->table_, kernels::make_table(options.isa, kernels::detect_features()));
  if (options.int8_prompts && !model->table_.has_int8_prompts()) {
    return base::error(base::Code::kUnsupported,
                       "--prompt-type int8: the kernel set \"{}\" has no such products; leave the flag out",
                       model->table_.name);
  }
  model->table_.int8_prompts = options.int8_prompts;
  TW_ASSIGN_OR_RETURN(model->files_, ModelFiles::open(path));
  TW_ASSIGN_OR_RETURN(model->card_, read_card(*model->files_, path));
  TW_RETURN_IF_ERROR(model->card_.config.runnable());
  model->transformer_ = std::make_unique<Transformer>(model->card_.config, model->params_);
  TW_RETURN_IF_ERROR(model->bind_all(options));
  return std::shared_ptr<const LoadedModel>(std::move(model));
}

/// What the file of packed weights has of a matrix; empty: it must be packed, if the kernel packs at all.
std::span<std::byte> LoadedModel::stored_panels(const Param& param, const io::TensorEntry& entry) const {
  if (packed_ == nullptr) return {};
  return packed_->find(param.name, kernel_for(entry), entry.dtype, param.shape[0], param.shape[1]);
}

/// All in one piece: in huge pages, which of many small pieces most would not get.
base::Status LoadedModel::allocate_panels(const std::vector<const io::TensorEntry*>& entries, bool copy) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Param& param = params_.params()[i];
    if (!param.multiplied() || (!copy && !stored_panels(param, *entries[i]).empty())) continue;
    bytes += panels_size(kernel_for(*entries[i]), *entries[i]);
  }
  TW_ASSIGN_OR_RETURN(panels_, tensor::Buffer::allocate(bytes, "the packed weights"));
  return base::Ok{};
}

/// From the file of packed weights if there is one, viewed where it lies or, with `copy`, in memory that is
/// near those who will read it and in huge pages; else packed here. What lies in memory begins at `used` of
/// panels_.
void LoadedModel::bind_matrix(Param& param, const io::TensorEntry& entry, base::Team& team, bool copy,
                              std::size_t& used) {
  const kernels::MatmulKernel& kernel = kernel_for(entry);
  const std::int64_t n = param.shape[0], k = param.shape[1];
  const std::span<std::byte> stored = stored_panels(param, entry);
  std::span<std::byte> panels = stored;
  if (stored.empty() || copy) {
    panels = {panels_.data() + used, tensor::PackedMatrix::packed_bytes(kernel, entry.dtype, n, k)};
    used += panels_size(kernel, entry);
  }
  param.matrix = tensor::PackedMatrix(kernel, entry.dtype, entry.data, n, k, panels, entry.palettes);
  param.matrix.set_exact(param.exact);
  if (stored.empty() || copy) {
    team.run([&](int worker) {
      const std::int64_t count = param.matrix.panels();
      const std::int64_t begin = count * worker / team.size(), end = count * (worker + 1) / team.size();
      if (stored.empty())
        param.matrix.pack_panels(begin, end);
      else
        param.matrix.copy_panels(stored, begin, end);
    });
    if (!stored.empty()) base::forget_mapped(stored.data(), stored.size());
  }
  if (packed_ != nullptr) packed_->add(param);
}

base::Status LoadedModel::bind_all(const LoadOptions& options) {
  TW_ASSIGN_OR_RETURN(const base::Placement placement, base::place_threads(options.threads, options.cpus));
  // Placed and cut as a step is: a page lies in the memory of the node that first writes it, and should be
  // where it will be read.
  const base::ThreadPin pin(placement[0]);
  base::Team team(placement);
  const bool several_nodes =
      std::any_of(placement.begin(), placement.end(), [&](auto& cpus) { return cpus != placement[0]; });
  packed_ = PackedWeights::open(*files_, table_, options.packed);
  std::vector<const io::TensorEntry*> entries;
  for (const Param& param : params_.params()) {
    TW_ASSIGN_OR_RETURN(const io::TensorEntry* entry, entry_for(*files_, param, card_.path));
    entries.push_back(entry);
  }
  const bool copy = several_nodes || (packed_ != nullptr && packed_->wants_copy());
  TW_RETURN_IF_ERROR(allocate_panels(entries, copy));
  std::int64_t done = 0;
  std::size_t used = 0;
  const std::int64_t total = params_.total_elements();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Param& param = params_.params()[i];
    const io::TensorEntry* entry = entries[i];
    if (param.use == Use::kVector) TW_RETURN_IF_ERROR(bind_vector(param, *entry));
    if (param.use == Use::kTable || param.use == Use::kTableAndMatrix) {
      param.table = {entry->dtype, entry->data, param.shape[0], param.shape[1], -1, entry->palettes};
    }
    if (param.multiplied()) bind_matrix(param, *entry, team, copy, used);
    // What was packed is not read again: without this, resident memory would be twice the file's size.
    // A copy that is no part of the file would be lost.
    if (param.use != Use::kVector && entry->mapped && param.matrix.data() != entry->data)
      base::forget_mapped(entry->data, base::row_bytes(entry->dtype, param.elements()));
    param.bound = true;
    done += param.elements();
    if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(total));
  }
  if (packed_ != nullptr) {
    packed_->check(team);
    packed_->start();
  }
  return base::Ok{};
}

double LoadedModel::share_of(const Param& param) const {
  const spec::Experts& e = config().experts;
  return param.routed ? static_cast<double>(e.chosen) / static_cast<double>(e.count) : 1;
}

std::size_t LoadedModel::weight_bytes_per_token() const {
  double bytes = 0;
  for (const Param& param : params_.params()) {
    if (!param.multiplied()) continue;
    const std::size_t whole = base::row_bytes(param.matrix.type(), param.matrix.k()) * param.matrix.n();
    bytes += share_of(param) * static_cast<double>(whole);
  }
  return static_cast<std::size_t>(bytes);
}

LoadedModel::WeightBytes LoadedModel::weight_bytes() const {
  WeightBytes bytes;
  const auto lies_in_panels = [&](const void* data) {
    const auto* at = static_cast<const std::byte*>(data);
    return at >= panels_.data() && at < panels_.data() + panels_.size();
  };
  for (const Param& param : params_.params()) {
    bytes.own += param.storage.size();
    const bool table = param.use == Use::kTable || param.use == Use::kTableAndMatrix;
    if (table) bytes.mapped += base::row_bytes(param.table.type, param.elements());
    if (!param.multiplied() || (table && param.matrix.packed().empty())) continue;  // the table's rows
    (lies_in_panels(param.matrix.data()) ? bytes.own : bytes.mapped) += param.matrix.bytes();
  }
  return bytes;
}

std::int64_t LoadedModel::matmul_weights() const {
  double weights = 0;
  for (const Param& param : params_.params()) {
    if (param.multiplied()) weights += share_of(param) * static_cast<double>(param.elements());
  }
  return static_cast<std::int64_t>(weights);
}

std::int64_t LoadedModel::layer_weights() const {
  double weights = 0;
  for (const Param& param : params_.params()) {
    if (param.use == Use::kMatrix && param.name.starts_with("model.layers."))
      weights += share_of(param) * static_cast<double>(param.elements());
  }
  return static_cast<std::int64_t>(weights);
}

}  // namespace tw::model
