#include "io/safetensors_write.h"

#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/json.h"
#include "io/atomic_file.h"

namespace tw::io {
namespace {

using base::Code;
using base::DType;
using base::Status;

bool in_format(DType type) {
  constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8, DType::kI32, DType::kI64};
  return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

Status check(std::span<const TensorEntry> tensors) {
  std::set<std::string_view> names;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__" || !names.insert(tensor.name).second)
      return base::error(Code::kInvalidArgument, "tensor name {} is empty or given twice",
                         quote_text(tensor.name));
    if (!in_format(tensor.dtype) || tensor.bytes != base::row_bytes(tensor.dtype, tensor.elements()))
      return base::error(Code::kInvalidArgument, "tensor {} has a type or size that safetensors cannot hold",
                         quote_text(tensor.name));
  }
  return base::Ok{};
}

}  // namespace

Status write_safetensors(const std::string& path, const std::map<std::string, std::string>& metadata,
                         std::span<const TensorEntry> tensors) {
  return write_safetensors(path, metadata, tensors,
                           [&](std::size_t i) -> base::Result<std::span<const std::byte>> {
                             return std::span(tensors[i].data, tensors[i].bytes);
                           });
}

Status write_safetensors(const std::string& path, const std::map<std::string, std::string>& metadata,
                         std::span<const TensorEntry> tensors, const TensorBytes& data) {
  TW_RETURN_IF_ERROR(check(tensors));
  std::vector<const TensorEntry*> order;
  for (const TensorEntry& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
    const std::size_t bytes = base::row_bytes(a->dtype, 1), others = base::row_bytes(b->dtype, 1);
    return bytes != others ? bytes > others : a < b;  // else as they were given: all are of one span
  });
  base::OrderedJson header = base::OrderedJson::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorEntry* tensor : order) {
    header[tensor->name] = {{"dtype", base::dtype_name(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + tensor->bytes}}};
    offset += tensor->bytes;
  }
  std::string text = base::dump_json(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  TW_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  TW_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(&length, 1))));
  TW_RETURN_IF_ERROR(file.write(text));
  for (const TensorEntry* tensor : order) {
    TW_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes,
                        data(static_cast<std::size_t>(tensor - tensors.data())));
    TW_CHECK(bytes.size() == tensor->bytes, "a tensor has the bytes it was declared with");
    TW_RETURN_IF_ERROR(file.write(bytes));
  }
  return file.commit();
}

}  // namespace tw::io
