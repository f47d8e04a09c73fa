// Writes safetensors files, as Hugging Face's library and our own reader (safetensors.h) read them.
#pragma once

#include <map>
#include <span>
#include <string>

#include "base/result.h"
#include "io/tensor_file.h"

namespace tw::io {

/// Writes the tensors, those of wider types first so that all are aligned, and the free text of
/// __metadata__; a crash leaves the old file or the new one. The data is read, not kept. Fails with
/// kInvalidArgument when a name is empty or given twice, `bytes` does not follow from type and shape, or the
/// type is none of the format's; with kIo or kResourceExhausted when the disk does.
base::Status write_safetensors(const std::string& path, const std::map<std::string, std::string>& metadata,
                               std::span<const TensorEntry> tensors);

/// The same, with data that is made as it is written: the entries' own is not looked at. Indices are those of
/// `tensors`; the order of the calls is the file's.
base::Status write_safetensors(const std::string& path, const std::map<std::string, std::string>& metadata,
                               std::span<const TensorEntry> tensors, const TensorBytes& data);

}  // namespace tw::io
