// Decoding of the chunked transfer coding (RFC 9112, 7.1), byte by byte. Internal to src/http.
// Beast's own decoder (Boost 1.74) stops the program by an assertion when a body that begins with its last
// chunk arrives in small pieces, so it cannot be used on a network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tw::http {

class ChunkedDecoder {
 public:
  enum class Status { kMore, kDone, kMalformed, kBodyTooLarge };

  /// max_extra bounds extensions and trailers, which are read and dropped, over the whole body.
  ChunkedDecoder(std::size_t max_body, std::size_t max_extra)
      : body_left_(max_body), extra_left_(max_extra) {}

  /// Consumes from the front of `bytes` (which it moves) and appends the content to `body`, up to the body's
  /// end or an error.
  Status feed(std::string_view& bytes, std::string& body);

 private:
  // kSize .. kSizeLf: "1F;ext=1\r\n"; kData .. kDataLf: content and "\r\n"; kTrailer: a line after the last
  // chunk.
  enum class State {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,
    kTrailerLine,
    kTrailerLf,
    kLastLf
  };

  Status step(char c);
  Status size_digit(char c);
  Status expect(char c, char wanted, State next);
  Status extra(char c, State on_cr);
  void take_data(std::string_view& bytes, std::string& body);

  State state_ = State::kSize;
  std::uint64_t size_ = 0;  // of this chunk; then what is left of it
  int digits_ = 0;
  std::uint64_t body_left_;
  std::uint64_t extra_left_;
};

}  // namespace tw::http
