// The built-in page: files of src/serve/page, compiled into the program.
#pragma once

#include <span>
#include <string_view>

namespace tw::serve {

struct PageFile {
  std::string_view path;  ///< as in the address, "/page/main.js"; "/" for the page itself
  std::string_view content_type;
  std::string_view content;
};

std::span<const PageFile> page_files();

/// Content-Security-Policy of the page: only its own files and its own server, nothing inline, no frames.
inline constexpr std::string_view kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace tw::serve
