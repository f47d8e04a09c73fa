// JSON by nlohmann-json, with the limits that hostile input needs.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace tw::base {

using Json = nlohmann::json;
/// Keeps the order of the keys as written (schemas, templates).
using OrderedJson = nlohmann::ordered_json;

/// Parses a whole document. Fails with kCorrupt, naming the byte offset, when the text is not JSON or is
/// nested deeper than max_depth (the parser itself recurses nowhere, but users of the tree do).
Result<Json> parse_json(std::string_view text, int max_depth = 64);
Result<OrderedJson> parse_ordered_json(std::string_view text, int max_depth = 64);

/// The document as compact text; invalid UTF-8 becomes U+FFFD and never throws.
std::string dump_json(const Json& json);
std::string dump_json(const OrderedJson& json);

}  // namespace tw::base
