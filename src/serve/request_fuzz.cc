// Fuzzes the bodies of all endpoints: parsing, checks, error messages, and the header of ignored names.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "serve/chat_request.h"
#include "serve/completion_request.h"
#include "serve/errors.h"
#include "serve/tokenize_request.h"

namespace {

/// A request is either good or has an error that can be told.
template <typename Request>
void check(const tw::base::Result<Request>& request) {
  using namespace tw::serve;
  if (request.ok()) {
    TW_CHECK(ignored_header(request->ignored).size() < 2000, "the header stays short");
    return;
  }
  const ApiError error = to_api_error(request.error());
  TW_CHECK(error.status == 400, "a bad body is the client's fault");
  TW_CHECK(!error.message.empty() && tw::base::parse_json(error_body(error)).ok(), "errors are JSON");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(tw::serve::parse_chat_request(text, {}));
  check(tw::serve::parse_completion_request(text, {}));
  check(tw::serve::parse_embedding_request(text));
  check(tw::serve::parse_tokenize_request(text));
  check(tw::serve::parse_detokenize_request(text));
  return 0;
}
