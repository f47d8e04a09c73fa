// The model store as the verbs see it.
#pragma once

#include <string>

#include "base/result.h"

namespace tw::cli {

/// The path of a stored model by its name; of the default model when `name` is empty, pulled first if `fetch`
/// and missing.
base::Result<std::string> find_in_store(const std::string& name, bool fetch);

}  // namespace tw::cli
