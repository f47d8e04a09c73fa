#include "http/chunked.h"

#include <algorithm>

namespace tw::http {

using Status = ChunkedDecoder::Status;

Status ChunkedDecoder::feed(std::string_view& bytes, std::string& body) {
  while (!bytes.empty()) {
    if (state_ == State::kData) {
      take_data(bytes, body);
      continue;
    }
    const char c = bytes.front();
    bytes.remove_prefix(1);
    const Status status = step(c);
    if (status != Status::kMore) return status;
  }
  return Status::kMore;
}

void ChunkedDecoder::take_data(std::string_view& bytes, std::string& body) {
  const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(size_, bytes.size()));
  body.append(bytes.substr(0, n));
  bytes.remove_prefix(n);
  size_ -= n;
  if (size_ == 0) state_ = State::kDataCr;
}

Status ChunkedDecoder::step(char c) {
  switch (state_) {
    case State::kSize:
      return size_digit(c);
    case State::kExtension:
      return extra(c, State::kSizeLf);
    case State::kSizeLf:
      return expect(c, '\n', size_ == 0 ? State::kTrailer : State::kData);
    case State::kData:
      return Status::kMalformed;  // not reached: feed takes content in bulk
    case State::kDataCr:
      return expect(c, '\r', State::kDataLf);
    case State::kDataLf:
      return expect(c, '\n', State::kSize);
    case State::kTrailer:
      if (c == '\r') return expect(c, '\r', State::kLastLf);
      state_ = State::kTrailerLine;
      return extra(c, State::kTrailerLf);
    case State::kTrailerLine:
      return extra(c, State::kTrailerLf);
    case State::kTrailerLf:
      return expect(c, '\n', State::kTrailer);
    case State::kLastLf:
      return c == '\n' ? Status::kDone : Status::kMalformed;
  }
  return Status::kMalformed;
}

Status ChunkedDecoder::expect(char c, char wanted, State next) {
  if (c != wanted) return Status::kMalformed;
  state_ = next;
  if (next == State::kSize) digits_ = 0;
  if (next == State::kData) body_left_ -= size_;
  return Status::kMore;
}

Status ChunkedDecoder::size_digit(char c) {
  constexpr int kMaxDigits = 16;
  int digit = -1;
  if (c >= '0' && c <= '9') digit = c - '0';
  if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
  if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
  if (digit >= 0) {
    if (digits_ == kMaxDigits) return Status::kMalformed;
    size_ = (digits_++ == 0 ? 0 : size_ * 16) + static_cast<std::uint64_t>(digit);
    return size_ > body_left_ ? Status::kBodyTooLarge : Status::kMore;
  }
  if (digits_ == 0) return Status::kMalformed;
  if (c == '\r') return expect(c, '\r', State::kSizeLf);
  if (c != ';' && c != ' ' && c != '\t') return Status::kMalformed;
  state_ = State::kExtension;
  return extra(c, State::kSizeLf);
}

/// A byte of an extension or a trailer: dropped, but counted.
Status ChunkedDecoder::extra(char c, State on_cr) {
  if (c == '\r') return expect(c, '\r', on_cr);
  const bool control = static_cast<unsigned char>(c) < 0x20 && c != '\t';
  if (control || c == 0x7f || extra_left_ == 0) return Status::kMalformed;
  --extra_left_;
  return Status::kMore;
}

}  // namespace tw::http
