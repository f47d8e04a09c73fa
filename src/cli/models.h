// The model store as the verbs see it.
#pragma once

#include <string>

#include "base/result.h"
#include "model/model_card.h"

namespace tw::cli {

struct FoundModel {
  std::string path;                    ///< file or folder
  std::string name;                    ///< in the store; empty for a path
  model::GenerationDefaults defaults;  ///< what its makers recommend and its file does not say
};

/// A stored model by its name; the default model when `name` is empty, pulled first if `fetch` and missing.
base::Result<FoundModel> find_in_store(const std::string& name, bool fetch);

/// Ends a pull that another thread of this process waits for, within a second or two; the next one goes on
/// from there.
void cancel_pull();

}  // namespace tw::cli
