// The parser behind GgufFile.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "io/gguf.h"

namespace tw::io {

/// Reads and checks the header, the metadata and the tensor list of a file given as bytes; see GgufFile::open
/// for the errors, which all carry `name`. The result points into `bytes`.
base::Result<GgufContents> parse_gguf(std::span<const std::byte> bytes, const std::string& name);

}  // namespace tw::io
