#include "train/tokenize_corpus.h"

#include <algorithm>
#include <atomic>

#include "base/team.h"
#include "io/sha256.h"
#include "text/word_counts.h"

namespace tw::train {
namespace {

using base::Json;
using base::Ok;
using base::Status;
using Ids = std::vector<text::TokenId>;

constexpr std::uint64_t kGroupBytes = 16 << 20;
constexpr std::size_t kPartBytes = 256 << 10;

/// A part of a group's document.
struct Part {
  std::string_view text;
  bool last = true;
};

std::vector<Part> cut(std::span<const Document> group, bool cuts_safely) {
  std::vector<Part> parts;
  for (const Document& document : group) {
    if (!cuts_safely) {
      parts.push_back({document.text, true});
      continue;
    }
    for (const std::string_view text : text::cut_documents({&document.text, 1}, kPartBytes))
      parts.push_back({text, false});
    parts.back().last = true;
  }
  return parts;
}

std::vector<Ids> encode(const std::vector<Part>& parts, const text::Tokenizer& tokenizer, base::Team& team) {
  std::vector<Ids> ids(parts.size());
  std::atomic<std::size_t> next{0};
  team.run([&](int) {
    for (std::size_t i = next++; i < parts.size(); i = next++)
      ids[i] = tokenizer.encode(parts[i].text, {.add_special = false, .parse_special = false});
  });
  return ids;
}

/// Adds a group's documents, each between BOS and EOS.
Status write(const std::vector<Part>& parts, const std::vector<Ids>& ids, const text::Tokenizer& tokenizer,
             TokenFileWriter& writer) {
  const std::optional<text::TokenId> bos = tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt;
  const std::optional<text::TokenId> eos = tokenizer.eos();
  bool first = true;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (first && bos) TW_RETURN_IF_ERROR(writer.add({&*bos, 1}));
    TW_RETURN_IF_ERROR(writer.add(ids[i]));
    first = parts[i].last;
    if (!parts[i].last) continue;
    if (eos) TW_RETURN_IF_ERROR(writer.add({&*eos, 1}));
    writer.end_document();
  }
  return Ok{};
}

/// What the token file is made of: equal manifests mean equal files.
Json inputs(const Corpus& corpus, const CorpusTokenizer& with, const std::string& kind) {
  Json files = Json::array();
  for (const Corpus::File& file : corpus.files())
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"modified_ns", file.modified_ns}});
  return {{"kind", kind}, {"tokenizer_sha256", with.sha256}, {"files", std::move(files)}};
}

base::Result<Json> read_manifest(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path + ".json"));
  const auto manifest = base::parse_json(text);
  if (!manifest.ok() || !manifest->is_object() || manifest->value("format", Json()) != Json(1))
    return base::Error{base::Code::kCorrupt, "is no manifest of a token file", path + ".json"};
  return *manifest;
}

/// The file of this manifest, if it is whole.
base::Result<TokenFile> open_whole(const std::string& path, const Json& manifest) {
  TW_ASSIGN_OR_RETURN(const std::string hash, io::sha256_of_file(path));
  if (manifest.value("sha256", Json()) == Json(hash)) return TokenFile::open(path);
  return base::Error{base::Code::kCorrupt, "does not match its checksum", path};
}

/// The file of an earlier run, if it is what these inputs give; else nothing.
std::optional<TokenFile> reusable(const std::string& path, const Json& wanted) {
  const auto manifest = read_manifest(path);
  if (!manifest.ok() || manifest->value("inputs", Json()) != wanted) return std::nullopt;
  auto file = open_whole(path, *manifest);
  return file.ok() ? std::optional(*std::move(file)) : std::nullopt;
}

}  // namespace

base::Result<TokenFile> kept_token_file(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const Json manifest, read_manifest(path));
  return open_whole(path, manifest);
}

base::Result<TokenFile> make_token_file(const Corpus& corpus, const CorpusTokenizer& with,
                                        const std::string& path, const std::string& kind, bool has_mask,
                                        const FillTokens& fill) {
  const Json wanted = inputs(corpus, with, kind);
  if (auto file = reusable(path, wanted)) return *std::move(file);
  TW_ASSIGN_OR_RETURN(TokenFileWriter writer,
                      TokenFileWriter::create(path, with.tokenizer.size(), with.sha256, has_mask));
  TW_RETURN_IF_ERROR(fill(writer));
  const std::uint64_t tokens = writer.tokens(), documents = writer.documents();
  if (tokens == 0) return base::Error{base::Code::kInvalidArgument, "has no text in it", corpus.path()};
  TW_ASSIGN_OR_RETURN(const std::string hash, writer.finish());
  const Json manifest = {
      {"format", 1}, {"sha256", hash}, {"tokens", tokens}, {"documents", documents}, {"inputs", wanted}};
  TW_RETURN_IF_ERROR(base::write_file_atomically(path + ".json", base::dump_json(manifest) + "\n"));
  return TokenFile::open(path);
}

base::Result<TokenFile> tokenize_corpus(const Corpus& corpus, const CorpusTokenizer& with,
                                        const std::string& path, const TokenizeOptions& options) {
  return make_token_file(corpus, with, path, "text", false, [&](TokenFileWriter& writer) {
    base::Team team(std::max(1, options.threads));
    std::uint64_t done = 0;
    return corpus.each_group(kGroupBytes, [&](std::span<const Document> group) -> Status {
      const std::vector<Part> parts = cut(group, with.cuts_safely);
      TW_RETURN_IF_ERROR(write(parts, encode(parts, with.tokenizer, team), with.tokenizer, writer));
      for (const Document& document : group) done += document.text.size();
      if (options.progress) options.progress(done, corpus.bytes());
      return Ok{};
    });
  });
}

}  // namespace tw::train
