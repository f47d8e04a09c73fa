// SHA-256 by OpenSSL.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tw::io {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(std::string_view bytes);
  /// 32 raw bytes. Ends it: nothing may be added afterwards.
  std::string finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// Two lower-case hex digits per byte.
std::string to_hex(std::string_view bytes);

/// The bytes that hex digits stand for. Fails with kInvalidArgument.
base::Result<std::string> from_hex(std::string_view hex);

/// The hash of a file's content in hex. Fails with kNotFound, kIo, or kCancelled when *cancel becomes true.
base::Result<std::string> sha256_of_file(const std::string& path, const std::atomic<bool>* cancel = nullptr);

}  // namespace tw::io
