// What a repository of the hub holds, and which of its files make a model. Internal to src/hub.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/source.h"

namespace tw::hub {

struct HubFile {
  std::string path;  ///< within the repository; every part is a safe file name
  std::optional<std::uint64_t> size;
  std::string sha256;  ///< of large files only; else empty
};

struct HubRepository {
  std::string revision;  ///< commit; may be empty
  std::string license;   ///< may be empty
  std::vector<HubFile> files;
};

/// Parses the answer of GET /api/models/OWNER/REPO?blobs=true. Fails with kCorrupt: not JSON, missing fields,
/// or file names that would leave the model's folder.
base::Result<HubRepository> parse_repository(std::string_view json);

/// The named file; or else the GGUF file of the best-suited quantization; or else the safetensors model with
/// its configuration and tokenizer. Fails with kNotFound, naming what there is.
base::Result<std::vector<HubFile>> choose_files(const HubRepository& repository, const Source& source);

}  // namespace tw::hub
