#include "io/sha256.h"

#include <openssl/evp.h>

#include "base/mmap.h"

namespace tw::io {

struct Sha256::Context {
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> evp{EVP_MD_CTX_new()};
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  const bool ok = context_->evp && EVP_DigestInit_ex(context_->evp.get(), EVP_sha256(), nullptr) == 1;
  TW_CHECK(ok, "OpenSSL has SHA-256");
}
Sha256::~Sha256() = default;

void Sha256::add(std::string_view bytes) {
  EVP_DigestUpdate(context_->evp.get(), bytes.data(), bytes.size());
}

std::string Sha256::finish() {
  std::string hash(32, '\0');
  EVP_DigestFinal_ex(context_->evp.get(), reinterpret_cast<unsigned char*>(hash.data()), nullptr);
  return hash;
}

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

base::Result<std::string> from_hex(std::string_view hex) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) break;
    bytes += static_cast<char>(high * 16 + low);
  }
  if (bytes.size() * 2 == hex.size()) return bytes;
  return base::error(base::Code::kInvalidArgument, "\"{}\" is not hex digits", hex);
}

base::Result<std::string> sha256_of_file(const std::string& path, const std::atomic<bool>* cancel) {
  constexpr std::size_t kBlock = std::size_t{4} << 20;
  TW_ASSIGN_OR_RETURN(const base::MappedFile file, base::MappedFile::open(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  Sha256 hash;
  for (std::size_t at = 0; at < bytes.size(); at += kBlock) {
    if (cancel != nullptr && *cancel)
      return base::error(base::Code::kCancelled, "the check of {} was cancelled", path);
    hash.add(bytes.substr(at, kBlock));
  }
  return to_hex(hash.finish());
}

}  // namespace tw::io
