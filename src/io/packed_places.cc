#include <filesystem>

#include "base/env.h"
#include "base/hash64.h"
#include "io/packed_file.h"
#include "io/packed_layout.h"

namespace tw::io {
namespace {

namespace fs = std::filesystem;

std::string cache_folder() {
  if (const auto cache = base::env::xdg_cache_home()) return *cache + "/tokenworks";
  if (const auto home = base::env::home()) return *home + "/.cache/tokenworks";
  return {};
}

bool is_packed_file(const std::string& path) {
  const auto file = base::MappedFile::open(path);
  if (!file.ok() || file->bytes().size() < kPackedMagic.size()) return false;
  return std::string_view(reinterpret_cast<const char*>(file->bytes().data()), kPackedMagic.size()) ==
         kPackedMagic;
}

}  // namespace

std::vector<std::string> packed_places(const std::string& model, std::uint32_t panel_rows) {
  std::error_code ec;
  const fs::path absolute = fs::absolute(model, ec).lexically_normal();
  const std::string ending = fmt::format(".packed{}", panel_rows);
  std::vector<std::string> places{model + ending};
  if (const std::string cache = cache_folder(); !ec && !cache.empty()) {
    places.push_back(fmt::format("{}/{}-{:016x}{}", cache, absolute.filename().string(),
                                 base::hash64(absolute.string()), ending));
  }
  return places;
}

void remove_packed_files(const std::string& model) {
  std::error_code ignored;
  for (const std::uint32_t rows : {8U, 16U}) {
    for (const std::string& place : packed_places(model, rows)) {
      for (const char* ending : {"", ".partial"}) {
        if (is_packed_file(place + ending)) fs::remove(place + ending, ignored);
      }
    }
  }
}

}  // namespace tw::io
