// manifest.json: see docs/formats/store.md.
#include <algorithm>
#include <cctype>

#include "base/json.h"
#include "hub/store.h"

namespace tw::hub {
namespace {

using base::Code;
using base::error;
using base::Json;
using base::Result;

constexpr int kFormat = 1;
constexpr std::size_t kMaxFiles = 10'000;

bool is_alnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

Result<std::string> text_field(const Json& json, const char* key, bool required) {
  const auto it = json.find(key);
  if (it == json.end() && !required) return std::string();
  if (it == json.end() || !it->is_string())
    return error(Code::kCorrupt, "the manifest's '{}' is not a string", key);
  return it->get<std::string>();
}

Result<StoredFile> parse_file(const Json& json) {
  if (!json.is_object()) return error(Code::kCorrupt, "the manifest's 'files' must hold objects");
  StoredFile file;
  TW_ASSIGN_OR_RETURN(file.path, text_field(json, "path", true));
  TW_ASSIGN_OR_RETURN(file.sha256, text_field(json, "sha256", false));
  if (!is_safe_file_name(file.path))
    return error(Code::kCorrupt, "the manifest names an unsafe file '{}'", file.path);
  const auto size = json.find("size");
  if (size == json.end() || !size->is_number_unsigned()) {
    return error(Code::kCorrupt, "the manifest's 'size' of {} is not a number of bytes", file.path);
  }
  file.size = size->get<std::uint64_t>();
  return file;
}

}  // namespace

std::uint64_t Manifest::total_size() const {
  std::uint64_t sum = 0;
  for (const StoredFile& file : files) sum += file.size;
  return sum;
}

bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && is_alnum(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_safe_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name.front() != '.' &&
         std::none_of(name.begin(), name.end(), [](char c) {
           return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

std::string write_manifest(const Manifest& manifest) {
  Json json = {{"format", kFormat},
               {"name", manifest.name},
               {"source", manifest.source},
               {"pulled", manifest.pulled},
               {"files", Json::array()}};
  if (!manifest.revision.empty()) json["revision"] = manifest.revision;
  if (!manifest.license.empty()) json["license"] = manifest.license;
  if (!manifest.reference.empty()) json["reference"] = manifest.reference;
  for (const StoredFile& file : manifest.files) {
    Json entry = {{"path", file.path}, {"size", file.size}};
    if (!file.sha256.empty()) entry["sha256"] = file.sha256;
    json["files"].push_back(std::move(entry));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Manifest> parse_manifest(std::string_view text) {
  TW_ASSIGN_OR_RETURN(const Json json, base::parse_json(text));
  if (!json.is_object()) return error(Code::kCorrupt, "the manifest is not an object");
  const auto format = json.find("format");
  if (format == json.end() || *format != kFormat) {
    return error(Code::kUnsupported, "the manifest is not of format {}: a newer tokenworks wrote it",
                 kFormat);
  }
  Manifest manifest;
  TW_ASSIGN_OR_RETURN(manifest.name, text_field(json, "name", true));
  TW_ASSIGN_OR_RETURN(manifest.source, text_field(json, "source", true));
  TW_ASSIGN_OR_RETURN(manifest.pulled, text_field(json, "pulled", true));
  TW_ASSIGN_OR_RETURN(manifest.revision, text_field(json, "revision", false));
  TW_ASSIGN_OR_RETURN(manifest.license, text_field(json, "license", false));
  TW_ASSIGN_OR_RETURN(manifest.reference, text_field(json, "reference", false));
  const auto files = json.find("files");
  if (files == json.end() || !files->is_array() || files->size() > kMaxFiles) {
    return error(Code::kCorrupt, "the manifest's 'files' is not a list of at most {}", kMaxFiles);
  }
  for (const Json& entry : *files) {
    TW_ASSIGN_OR_RETURN(StoredFile file, parse_file(entry));
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

}  // namespace tw::hub
