#include "hub/hub_api.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/json.h"
#include "hub/store.h"

namespace tw::hub {
namespace {

using base::Code;
using base::error;
using base::Json;
using base::Result;

constexpr std::size_t kMaxFiles = 10'000;

// Small and good first: what a person without a preference wants on a CPU.
constexpr std::array<std::string_view, 17> kPreferred = {
    "Q4_K_M", "Q4_K_S", "Q4_1",   "Q4_0",   "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q6_K",
    "Q8_0",   "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K",   "BF16",   "F16",  "F32"};

bool is_safe_path(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    // Hidden files such as .gitattributes are listed too; they are never chosen.
    if (!is_safe_file_name(part) && !(part.size() > 1 && is_safe_file_name(part.substr(1)))) return false;
    if (part == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::toupper(c); });
  return out;
}

/// True when `word` stands in the name between characters that are no part of a quantization's name.
bool names_quantization(const std::string& name, std::string_view word) {
  const auto inside = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (std::size_t at = name.find(word); at != std::string::npos; at = name.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !inside(name[at - 1])) && (end == name.size() || !inside(name[end]))) return true;
  }
  return false;
}

std::string text_of(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<HubFile> parse_sibling(const Json& json) {
  HubFile file;
  if (json.is_object()) file.path = text_of(json, "rfilename");
  if (!is_safe_path(file.path)) {
    return error(Code::kCorrupt, "the repository lists a file named '{}', which is not safe to store",
                 file.path);
  }
  if (const auto size = json.find("size"); size != json.end() && size->is_number_unsigned()) {
    file.size = size->get<std::uint64_t>();
  }
  const auto lfs = json.find("lfs");
  if (lfs == json.end() || !lfs->is_object()) return file;
  file.sha256 = text_of(*lfs, "sha256");
  if (!file.sha256.empty() && !is_sha256(file.sha256)) {
    return error(Code::kCorrupt, "the repository states no valid sha256 for {}", file.path);
  }
  if (const auto size = lfs->find("size"); size != lfs->end() && size->is_number_unsigned()) {
    file.size = size->get<std::uint64_t>();
  }
  return file;
}

std::string license_of(const Json& json) {
  if (const auto card = json.find("cardData"); card != json.end() && card->is_object()) {
    if (std::string license = text_of(*card, "license"); !license.empty()) return license;
  }
  const auto tags = json.find("tags");
  if (tags == json.end() || !tags->is_array()) return {};
  for (const Json& tag : *tags) {
    constexpr std::string_view kTag = "license:";
    if (tag.is_string() && tag.get_ref<const std::string&>().starts_with(kTag)) {
      return tag.get<std::string>().substr(kTag.size());
    }
  }
  return {};
}

std::string join(const std::vector<HubFile>& files) {
  std::string text;
  for (const HubFile& file : files) {
    if (text.size() > 2000) return text + ", ...";
    text += (text.empty() ? "" : ", ") + file.path;
  }
  return text;
}

bool is_gguf_model(const HubFile& file) {
  const std::string name = file.path.substr(file.path.rfind('/') + 1);
  const std::string capitals = upper(name);
  return is_safe_file_name(name) && name.ends_with(".gguf") && capitals.find("-OF-0") == std::string::npos &&
         capitals.find("MMPROJ") == std::string::npos;
}

Result<std::vector<HubFile>> choose_gguf(const std::vector<HubFile>& ggufs, const std::string& repo) {
  if (ggufs.size() == 1) return ggufs;
  for (const std::string_view quantization : kPreferred) {
    for (const HubFile& file : ggufs) {
      if (names_quantization(upper(file.path), quantization)) return std::vector<HubFile>{file};
    }
  }
  return error(Code::kNotFound, "which file of {} is meant? Write hf:.../FILE with one of: {}", repo,
               join(ggufs));
}

/// Only what lies at the top of the repository: the model's folder has no subfolders.
bool belongs_to_folder(std::string_view name) {
  if (!is_safe_file_name(name)) return false;
  if (name.ends_with(".safetensors")) return !name.starts_with("consolidated");
  constexpr std::array<std::string_view, 10> kNames = {"config.json",
                                                       "generation_config.json",
                                                       "model.safetensors.index.json",
                                                       "chat_template.jinja",
                                                       "chat_template.json",
                                                       "special_tokens_map.json",
                                                       "added_tokens.json",
                                                       "vocab.json",
                                                       "merges.txt",
                                                       "tokenizer.model"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() ||
         (name.starts_with("tokenizer") && name.ends_with(".json"));
}

Result<std::vector<HubFile>> choose_folder(const HubRepository& repository, const std::string& repo) {
  std::vector<HubFile> chosen;
  bool config = false, weights = false;
  for (const HubFile& file : repository.files) {
    if (!belongs_to_folder(file.path)) continue;
    config = config || file.path == "config.json";
    weights = weights || file.path.ends_with(".safetensors");
    chosen.push_back(file);
  }
  if (config && weights) return chosen;
  return error(Code::kNotFound,
               "{} has no single-file GGUF, and no config.json with safetensors either; it has: {}", repo,
               join(repository.files));
}

}  // namespace

Result<HubRepository> parse_repository(std::string_view text) {
  Result<Json> json = base::parse_json(text);
  if (!json.ok() || !json->is_object()) {
    return error(
        Code::kCorrupt,
        "the answer is no JSON object: is this address a model hub, or a page of a proxy or a login?");
  }
  HubRepository repository;
  repository.revision = text_of(*json, "sha");
  repository.license = license_of(*json);
  const auto siblings = json->find("siblings");
  if (siblings == json->end() || !siblings->is_array() || siblings->size() > kMaxFiles) {
    return error(Code::kCorrupt, "the answer has no list 'siblings' of at most {} files", kMaxFiles);
  }
  for (const Json& sibling : *siblings) {
    TW_ASSIGN_OR_RETURN(HubFile file, parse_sibling(sibling));
    repository.files.push_back(std::move(file));
  }
  return repository;
}

Result<std::vector<HubFile>> choose_files(const HubRepository& repository, const Source& source) {
  const std::string repo = source.owner + "/" + source.repo;
  std::vector<HubFile> ggufs;
  for (const HubFile& file : repository.files) {
    if (!source.file.empty() && file.path == source.file) return std::vector<HubFile>{file};
    if (is_gguf_model(file)) ggufs.push_back(file);
  }
  if (!source.file.empty()) {
    return error(Code::kNotFound, "{} has no file {}; it has: {}", repo, source.file,
                 join(ggufs.empty() ? repository.files : ggufs));
  }
  return ggufs.empty() ? choose_folder(repository, repo) : choose_gguf(ggufs, repo);
}

}  // namespace tw::hub
