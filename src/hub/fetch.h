// Downloads that are checked and retried. Internal to src/hub.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/client.h"
#include "hub/pull.h"

namespace tw::hub {

struct RemoteFile {
  std::string url;
  std::string name;  ///< to store it under; also in messages
  std::optional<std::uint64_t> size;
  std::string sha256;  ///< empty: not known
};

class Fetcher {
 public:
  /// `headers` go with every request. Both must outlive it.
  Fetcher(const PullOptions& options, std::vector<http::Header> headers);

  /// A small document. Every status but 200 is an error, after retries of those that may pass (429, 5xx).
  base::Result<std::string> get(const std::string& url) const;

  /// The file, into `folder`/name, with the size and hash it must have. A file that is there already is only
  /// checked.
  base::Result<StoredFile> fetch(const RemoteFile& file, const std::string& folder) const;

 private:
  base::Status download(const RemoteFile& file, const std::string& path) const;
  base::Error refuse(const std::string& url, int status) const;
  base::Status wait_before(int attempt, const std::string* retry_after, const std::string& url) const;

  const PullOptions& options_;
  const std::vector<http::Header> headers_;
};

/// Checks size and hash of what lies at `path` and gives its entry; a wrong file is removed. "name" names it
/// in messages. Files that end in .gguf must begin with GGUF's magic.
base::Result<StoredFile> check_file(const std::string& path, const std::string& name,
                                    std::optional<std::uint64_t> size, const std::string& sha256,
                                    const PullOptions& options);

/// Whether the file begins as every GGUF file does.
base::Result<bool> has_gguf_magic(const std::string& path);

/// Fails with kResourceExhausted when the disk of `folder` has less than `bytes` free.
base::Status check_disk(const std::string& folder, std::uint64_t bytes, const std::string& name);

}  // namespace tw::hub
