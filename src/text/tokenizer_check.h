// The checks that every TokenizerSpec passes before it becomes a Tokenizer.
#pragma once

#include "text/tokenizer.h"

namespace tw::text {

/// Sizes that agree, types that exist, ids in range, names the field at fault.
base::Status check_spec(const TokenizerSpec& spec);

}  // namespace tw::text
