// Text inside HTML and SVG.
#pragma once

#include <string>
#include <string_view>

namespace tw::cli {

/// Safe inside elements and quoted attributes.
std::string html_escape(std::string_view text);

}  // namespace tw::cli
