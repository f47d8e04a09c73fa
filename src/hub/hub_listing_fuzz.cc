// What a hub, a manifest on disk or a person may say: names that come out are safe to store.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "hub/hub_api.h"
#include "hub/source.h"
#include "hub/store.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tw::hub;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto manifest = parse_manifest(text); manifest.ok()) {
    for (const StoredFile& file : manifest->files) {
      if (!is_safe_file_name(file.path)) std::abort();
    }
    // Bytes that are no UTF-8 were refused by the JSON parser, so writing loses nothing.
    const auto again = parse_manifest(write_manifest(*manifest));
    if (!again.ok() || write_manifest(*again) != write_manifest(*manifest)) std::abort();
  }
  if (const auto repository = parse_repository(text); repository.ok()) {
    Source source;
    source.owner = source.repo = "r";
    const auto files = choose_files(*repository, source);
    for (const HubFile& file : files.ok() ? *files : std::vector<HubFile>()) {
      if (!is_safe_file_name(file.path.substr(file.path.rfind('/') + 1))) std::abort();
    }
  }
  const std::string_view prefix = size % 2 == 0 ? "hf:" : "https://";
  if (const auto source = parse_source(std::string(prefix) + std::string(text)); source.ok()) {
    if (!is_valid_name(source->name)) std::abort();
  }
  return 0;
}
