// Writes GGUF version 3: for tests, and for exporting what was trained or quantized.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "io/tensor_file.h"

namespace tw::io {

/// The value types this writer knows; the reader knows all of the format's.
using GgufWriteValue =
    std::variant<std::uint32_t, std::int32_t, std::uint64_t, std::int64_t, float, double, bool, std::string,
                 std::vector<std::string>, std::vector<float>, std::vector<std::int32_t>, std::vector<bool>>;
using GgufWriteMetadata = std::vector<std::pair<std::string, GgufWriteValue>>;

/// Writes metadata and tensors in the given order, aligned to 32 bytes, so that a crash leaves the old file
/// or the new one. The tensors' data is read, not kept. Fails with kInvalidArgument when a name is empty or
/// given twice, a shape has more than 4 dimensions or `bytes` does not follow from it, or the key
/// general.alignment is given; with kIo when the disk does.
base::Status write_gguf(const std::string& path, const GgufWriteMetadata& metadata,
                        std::span<const TensorEntry> tensors);

/// The same, with data that is made as it is written: the entries' own is not looked at.
base::Status write_gguf(const std::string& path, const GgufWriteMetadata& metadata,
                        std::span<const TensorEntry> tensors, const TensorBytes& data);

/// The same file in memory.
base::Result<std::string> gguf_bytes(const GgufWriteMetadata& metadata, std::span<const TensorEntry> tensors);

}  // namespace tw::io
