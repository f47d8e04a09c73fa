#include "train/run_checkpoint.h"

#include <algorithm>
#include <cstring>

#include "kernels/ref/dequantize.h"

namespace tw::train {
namespace {

using base::Code;
using base::Error;
using base::Json;
using base::Ok;
using base::Status;

io::TensorEntry entry_of(const std::string& name, const std::vector<std::int64_t>& shape,
                         std::span<const float> numbers) {
  return {.name = name,
          .dtype = base::DType::kF32,
          .shape = shape,
          .data = reinterpret_cast<const std::byte*>(numbers.data()),
          .bytes = numbers.size_bytes()};
}

/// Parameters' parts of a buffer laid out as the masters are.
std::vector<io::TensorEntry> entries_of(const Trainer& trainer, std::span<const float> floats) {
  std::vector<io::TensorEntry> entries;
  const model::Trainable& params = trainer.params();
  for (std::size_t i = 0; i < params.store().params().size(); ++i) {
    const model::Param& param = params.store().params()[i];
    entries.push_back(entry_of(param.name, param.shape, floats.subspan(params.offset(i), param.elements())));
  }
  return entries;
}

Error other_shape(const std::string& name, const std::vector<std::int64_t>& shape,
                  const std::vector<std::int64_t>& wanted, const std::string& where) {
  return {Code::kInvalidArgument,
          fmt::format("{} has the shape {}, but the model wants {}", io::quote_text(name),
                      io::shape_text(shape), io::shape_text(wanted)),
          where};
}

Status read_tensor(const io::SafetensorsFile& file, const std::string& name,
                   const std::vector<std::int64_t>& shape, std::span<float> numbers) {
  TW_ASSIGN_OR_RETURN(const io::TensorEntry* entry, file.get(name));
  if (entry->shape != shape) return other_shape(name, entry->shape, shape, file.path());
  if (entry->dtype != base::DType::kF32)
    return Error{Code::kCorrupt, io::quote_text(name) + " is not fp32", file.path()};
  std::memcpy(numbers.data(), entry->data, entry->bytes);
  return Ok{};
}

Status read_shard(const Checkpoint& checkpoint, const char* name, const Trainer& trainer,
                  std::span<float> floats) {
  TW_ASSIGN_OR_RETURN(const io::SafetensorsFile* file, checkpoint.shard(name));
  const model::Trainable& params = trainer.params();
  for (std::size_t i = 0; i < params.store().params().size(); ++i) {
    const model::Param& param = params.store().params()[i];
    // The stage before had no masks: they begin alike.
    if (WidthMask::is_mask(param.name) && file->find(param.name) == nullptr) continue;
    TW_RETURN_IF_ERROR(
        read_tensor(*file, param.name, param.shape, floats.subspan(params.offset(i), param.elements())));
  }
  return Ok{};
}

/// What the optimizer keeps: a shard for each name.
void add_state(CheckpointData& data, const Trainer& trainer) {
  for (const Optimizer::Kept& kept : trainer.optimizer().kept()) {
    auto shard = std::find_if(data.shards.begin(), data.shards.end(),
                              [&](const auto& s) { return s.name == kept.tensor.name; });
    if (shard == data.shards.end()) {
      data.shards.push_back({kept.tensor.name, {}});
      shard = data.shards.end() - 1;
    }
    const std::string& name = trainer.params().store().params()[kept.param].name;
    shard->tensors.push_back(entry_of(name, kept.tensor.shape, kept.numbers));
  }
}

Status read_state(const Checkpoint& checkpoint, const Trainer& trainer) {
  for (const Optimizer::Kept& kept : trainer.optimizer().kept()) {
    TW_ASSIGN_OR_RETURN(const io::SafetensorsFile* file, checkpoint.shard(kept.tensor.name));
    const std::string& name = trainer.params().store().params()[kept.param].name;
    TW_RETURN_IF_ERROR(read_tensor(*file, name, kept.tensor.shape, kept.numbers));
  }
  return Ok{};
}

template <typename T>
Status read_number(const Json& state, const char* key, const std::string& folder, T& value) {
  const auto found = state.is_object() ? state.find(key) : state.end();
  if (!state.is_object() || found == state.end() || !found->is_number() || found->template get<double>() < 0)
    return Error{Code::kCorrupt, fmt::format("its state has no number \"{}\"", key), folder};
  value = found->template get<T>();
  return Ok{};
}

}  // namespace

std::vector<io::TensorEntry> weights_of(const Trainer& trainer) {
  std::vector<io::TensorEntry> entries = entries_of(trainer, trainer.params().masters());
  for (std::size_t i = 0; trainer.mask() != nullptr && i < entries.size(); ++i)
    entries[i].data = reinterpret_cast<const std::byte*>(trainer.mask()->numbers(i));
  return entries;
}

CheckpointData checkpoint_of(const Trainer& trainer, const BatchLoader& loader, const RunPlace& place,
                             std::optional<double> validation_loss) {
  const Trainer::UsualNorm usual = trainer.usual_norm();
  CheckpointData data;
  data.step = place.step;
  data.validation_loss = validation_loss;
  // Where a stage has no step yet, the weights and their loss are of the one before.
  data.stage = static_cast<std::int64_t>(place.stage) - (place.stage_step == 0 && place.stage > 0 ? 1 : 0);
  data.state = {{"stage", place.stage},     {"stage_step", place.stage_step}, {"elapsed", place.elapsed},
                {"skipped", place.skipped}, {"usual_norm", usual.norm},       {"norms_seen", usual.seen}};
  if (place.best) data.state["best"] = {{"loss", place.best->loss}, {"step", place.best->step}};
  data.shards.push_back({"weights", weights_of(trainer)});
  if (place.stage_step == 0) return data;
  data.state["data"] = loader.position();
  add_state(data, trainer);
  return data;
}

base::Result<RunPlace> place_of(const Checkpoint& checkpoint) {
  RunPlace place;
  place.step = checkpoint.step();
  const Json& state = checkpoint.state();
  TW_RETURN_IF_ERROR(read_number(state, "stage", checkpoint.folder(), place.stage));
  TW_RETURN_IF_ERROR(read_number(state, "stage_step", checkpoint.folder(), place.stage_step));
  TW_RETURN_IF_ERROR(read_number(state, "elapsed", checkpoint.folder(), place.elapsed));
  TW_RETURN_IF_ERROR(read_number(state, "skipped", checkpoint.folder(), place.skipped));
  const Json best = state.value("best", Json());
  if (best.is_object()) {
    place.best = RunPlace::Best();
    TW_RETURN_IF_ERROR(read_number(best, "loss", checkpoint.folder(), place.best->loss));
    TW_RETURN_IF_ERROR(read_number(best, "step", checkpoint.folder(), place.best->step));
  }
  return place;
}

Status restore_weights(const Checkpoint& checkpoint, Trainer& trainer) {
  TW_RETURN_IF_ERROR(read_shard(checkpoint, "weights", trainer, trainer.params().masters()));
  trainer.refresh();
  return Ok{};
}

Status restore(const Checkpoint& checkpoint, Trainer& trainer, BatchLoader& loader) {
  TW_ASSIGN_OR_RETURN(const RunPlace place, place_of(checkpoint));
  TW_RETURN_IF_ERROR(restore_weights(checkpoint, trainer));
  if (place.stage_step == 0) {
    trainer.optimizer().reset();
    trainer.set_steps_done(0);
    trainer.set_usual_norm({});
    return Ok{};
  }
  TW_RETURN_IF_ERROR(read_state(checkpoint, trainer));
  trainer.set_steps_done(place.stage_step);
  Trainer::UsualNorm usual;
  TW_RETURN_IF_ERROR(read_number(checkpoint.state(), "usual_norm", checkpoint.folder(), usual.norm));
  TW_RETURN_IF_ERROR(read_number(checkpoint.state(), "norms_seen", checkpoint.folder(), usual.seen));
  trainer.set_usual_norm(usual);
  if (const Status status = loader.seek(checkpoint.state().value("data", Json())); !status.ok())
    return Error{status.error().code, status.error().message, checkpoint.folder()};
  return Ok{};
}

Status load_weights(const model::ModelFiles& files, Trainer& trainer) {
  model::Trainable& params = trainer.params();
  for (std::size_t i = 0; i < params.store().params().size(); ++i) {
    const model::Param& param = params.store().params()[i];
    if (WidthMask::is_mask(param.name)) continue;
    TW_ASSIGN_OR_RETURN(const io::TensorEntry* entry, files.get(param.name));
    if (entry->shape != param.shape)
      return other_shape(entry->name, files.file_shape(param.name, entry->shape),
                         files.file_shape(param.name, param.shape), {});
    const std::int64_t width = param.shape.back(), rows = param.elements() / width;
    const std::size_t bytes = entry->bytes / static_cast<std::size_t>(rows);
    for (std::int64_t row = 0; row < rows; ++row)
      kernels::dequantize_row(entry->dtype, entry->data + bytes * row, params.master(i).data() + width * row,
                              width, kernels::palette_of_row(entry->dtype, entry->palettes, row));
  }
  trainer.refresh();
  return Ok{};
}

}  // namespace tw::train
