// Requests from the network: no input may crash the parser, and how the bytes were cut may not change the
// outcome.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/message.h"

namespace {

using tw::http::RequestParser;

/// Feeds the bytes as a connection does, `step` at a time. True when a whole request came out.
bool parse(RequestParser& parser, std::string_view bytes, std::size_t step) {
  std::string buffer;
  while (!parser.done() && parser.error_status() == 0) {
    const std::size_t before = buffer.size();
    buffer.erase(0, parser.feed(buffer));
    if (buffer.size() < before) continue;  // it may go on with what is left
    if (bytes.empty()) break;
    buffer += bytes.substr(0, step);
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
  return parser.done();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  RequestParser whole(4096, 65536);
  RequestParser pieces(4096, 65536);
  const bool done = parse(whole, bytes, size + 1);
  if (done != parse(pieces, bytes, 1)) std::abort();
  if (!done) return 0;
  if (whole.request().body != pieces.request().body || whole.request().path != pieces.request().path)
    std::abort();
  if (whole.request().body.size() > 65536 || whole.request().path.empty()) std::abort();
  return 0;
}
