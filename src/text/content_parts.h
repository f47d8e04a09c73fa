// The content of OpenAI's messages where it is a list of parts.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace tw::text {

/// The texts of a list of parts, one line per part, as vLLM joins them. Errors tell the part in `where`
/// ("[1]"): kUnsupported for one of another type, kInvalidArgument for one whose text is no string.
base::Result<std::string> join_content_parts(const base::OrderedJson& parts);

}  // namespace tw::text
