#include "train/run_data.h"

#include <algorithm>
#include <filesystem>

#include "base/hash64.h"
#include "text/chat_template.h"
#include "train/preference_data.h"

namespace tw::train {
namespace {

using base::Code;
using base::Error;
using base::Ok;
using base::Status;

constexpr std::uint64_t kPiece = 1 << 20;

SourceKind kind_of(const std::string& name) {
  return name == "chat"         ? SourceKind::kChat
         : name == "preference" ? SourceKind::kPreference
                                : SourceKind::kText;
}

Status check_lines(const Corpus& corpus, const std::string& kind) {
  for (const Corpus::File& file : corpus.files()) {
    if (!file.path.ends_with(".jsonl")) {
      return Error{Code::kInvalidArgument,
                   fmt::format("is no .jsonl file, which the kind \"{}\" wants: lines {}", kind,
                               kind == "chat" ? "{\"messages\": [...]}"
                                              : "{\"prompt\": ..., \"chosen\": ..., \"rejected\": ...}"),
                   file.path};
    }
  }
  return Ok{};
}

std::string file_of(const std::string& folder, SourceKind kind, const std::string& path) {
  const char* name = kind == SourceKind::kText   ? "text "
                     : kind == SourceKind::kChat ? "chat "
                                                 : "preference ";
  const std::string what = name + path;
  return fmt::format("{}/{:016x}.tokens", folder, base::hash64(what));
}

}  // namespace

base::Result<std::vector<SourceText>> open_sources(const spec::TrainStage& stage, const std::string& out) {
  std::vector<SourceText> sources;
  for (const spec::TrainData& data : stage.data) {
    TW_ASSIGN_OR_RETURN(Corpus corpus, Corpus::open(data.path, out));
    if (data.kind != "text") TW_RETURN_IF_ERROR(check_lines(corpus, data.kind));
    sources.push_back({std::move(corpus), kind_of(data.kind), data.weight});
  }
  return sources;
}

base::Result<std::vector<MixtureSource>> tokenize_sources(const std::vector<SourceText>& sources,
                                                          const RunTokenizer& tokenizer,
                                                          const std::string& folder, int threads,
                                                          RunObserver& observer) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return Error{Code::kIo, "cannot create the folder: " + failed.message(), folder};
  std::vector<MixtureSource> files;
  for (const SourceText& source : sources) {
    const std::string what = "tokens of " + source.corpus.path();
    const TokenizeOptions options{threads, [&](std::uint64_t done, std::uint64_t all) {
                                    observer.preparing(what,
                                                       static_cast<double>(done) / static_cast<double>(all));
                                  }};
    const std::string path = file_of(folder, source.kind, source.corpus.path());
    const CorpusTokenizer with = tokenizer.corpus_tokenizer();
    const auto tokenize = [&]() -> base::Result<TokenFile> {
      if (source.kind == SourceKind::kText) return tokenize_corpus(source.corpus, with, path, options);
      if (source.kind == SourceKind::kPreference)
        return tokenize_preferences(source.corpus, with, tokenizer.chat_template, path, options);
      TW_ASSIGN_OR_RETURN(const text::ChatTemplate chat, text::ChatTemplate::parse(tokenizer.chat_template));
      const std::string hash = fmt::format("{:016x}", base::hash64(tokenizer.chat_template));
      return tokenize_chats(source.corpus, with, chat, hash, path, options);
    };
    TW_ASSIGN_OR_RETURN(TokenFile file, tokenize());
    files.push_back(
        {std::make_shared<const TokenFile>(std::move(file)), source.weight, source.corpus.path()});
  }
  return files;
}

base::Result<std::vector<MixtureSource>> kept_tokens(const spec::TrainStage& stage,
                                                     const RunTokenizer& tokenizer,
                                                     const std::string& folder) {
  std::vector<MixtureSource> files;
  for (const spec::TrainData& data : stage.data) {
    auto file = kept_token_file(file_of(folder, kind_of(data.kind), data.path));
    if (!file.ok())
      return Error{
          file.error().code,
          file.error().message + ": the tokens of " + data.path + " were not kept; leave --kept-data away",
          file.error().where};
    if (file->tokenizer_sha256() != tokenizer.sha256)
      return Error{Code::kInvalidArgument, "was made with another tokenizer than the run's", file->path()};
    files.push_back({std::make_shared<const TokenFile>(*std::move(file)), data.weight, data.path});
  }
  return files;
}

DataSize size_of(const std::vector<MixtureSource>& sources, double validation) {
  DataSize size;
  for (const MixtureSource& source : sources) size.tokens += static_cast<std::int64_t>(source.file->tokens());
  size.training = static_cast<std::int64_t>(static_cast<double>(size.tokens) * (1 - validation));
  return size;
}

base::Result<std::int64_t> estimate_tokens(const std::vector<SourceText>& sources,
                                           const RunTokenizer& tokenizer) {
  double tokens = 0;
  for (const SourceText& source : sources) {
    double bytes = 0, ids = 0;
    if (source.kind != SourceKind::kText) {
      tokens += static_cast<double>(source.corpus.bytes()) / 4;
      continue;
    }
    const Status status = source.corpus.each_group(kPiece, [&](std::span<const Document> group) -> Status {
      for (const Document& document : group) {
        const std::string_view piece = document.text.substr(0, kPiece);
        bytes += static_cast<double>(piece.size());
        ids += static_cast<double>(tokenizer.tokenizer->encode(piece, {.add_special = false}).size());
      }
      return base::error(Code::kCancelled, "enough");
    });
    if (!status.ok() && status.error().code != Code::kCancelled) return status.error();
    if (bytes > 0) tokens += ids / bytes * static_cast<double>(source.corpus.bytes());
  }
  return static_cast<std::int64_t>(tokens);
}

}  // namespace tw::train
