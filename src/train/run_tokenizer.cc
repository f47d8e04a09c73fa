#include "train/run_tokenizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>

#include "base/mmap.h"
#include "io/sha256.h"
#include "model/model_files.h"
#include "text/bpe_trainer.h"
#include "text/content_parts.h"
#include "text/tokenizer_json_write.h"

namespace tw::train {
namespace {

using base::Code;
using base::Error;
using base::Ok;
using base::Status;

/// OpenAI's ChatML, as Qwen and SmolLM2 use it.
constexpr const char* kChatMl =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + "
    "'\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

bool any(const std::vector<SourceText>& sources, SourceKind kind) {
  return std::any_of(sources.begin(), sources.end(), [&](const SourceText& s) { return s.kind == kind; });
}

/// Preferences may be texts alone.
bool may_chat(const std::vector<SourceText>& sources) {
  return any(sources, SourceKind::kChat) || any(sources, SourceKind::kPreference);
}

/// A power of two near the number of words that so much text can teach: 2048 for a megabyte.
std::int64_t vocabulary_for(std::uint64_t bytes) {
  const double wanted = 512 * std::sqrt(static_cast<double>(bytes) / (1 << 16));
  return static_cast<std::int64_t>(
      std::bit_floor(static_cast<std::uint64_t>(std::clamp(wanted, 512.0, 16384.0))));
}

/// Calls add with the texts of a line's messages, or of a pair's three parts.
template <typename F>
void for_texts(const base::OrderedJson& json, const F& add) {
  if (json.is_string()) return add(json.get<std::string>());
  if (json.is_array()) {
    for (const base::OrderedJson& message : json) {
      if (!message.is_object() || !message.contains("content")) continue;
      const base::OrderedJson& content = message["content"];
      if (content.is_string()) add(content.get<std::string>());
      if (!content.is_array()) continue;
      const auto parts = text::join_content_parts(content);
      if (parts.ok()) add(*parts);  // what else there is, tokenizing refuses
    }
  }
}

/// The words of conversations and preferences, line by line.
Status add_lines(const SourceText& source, std::uint64_t most, text::BpeTrainer& trainer) {
  std::uint64_t bytes = 0;
  const auto add = [&](const std::string& text) {
    const std::string_view view = text;
    bytes += text.size();
    if (bytes <= most) trainer.add({&view, 1});
  };
  const bool chat = source.kind == SourceKind::kChat;
  for (const Corpus::File& file : source.corpus.files()) {
    TW_RETURN_IF_ERROR(each_json_line(file.path, [&](const base::OrderedJson& line) -> Status {
      if (chat && (!line.is_object() || !line.contains("messages") || !line["messages"].is_array()))
        return base::error(Code::kCorrupt, "has no list \"messages\"");
      for (const char* key : {"messages", "prompt", "chosen", "rejected"}) {
        if (line.is_object() && line.contains(key)) for_texts(line[key], add);
      }
      return Ok{};
    }));
  }
  return Ok{};
}

/// What ends a walk through a corpus that has been long enough.
Error enough() {
  return Error{Code::kCancelled, "enough", {}};
}

Status add_text(const Corpus& corpus, std::uint64_t most, text::BpeTrainer& trainer) {
  std::uint64_t bytes = 0;
  const Status status = corpus.each_group(16 << 20, [&](std::span<const Document> group) -> Status {
    std::vector<std::string_view> texts;
    for (const Document& document : group) {
      texts.push_back(document.text.substr(0, most - std::min(bytes, most)));
      bytes += document.text.size();
    }
    trainer.add(texts);
    if (bytes >= most) return enough();
    return Ok{};
  });
  if (!status.ok() && status.error().code != Code::kCancelled) return status;
  return Ok{};
}

base::Result<RunTokenizer> train_tokenizer(const spec::TrainTokenizer& wanted,
                                           const std::vector<SourceText>& sources, int threads,
                                           std::uint64_t most, RunObserver& observer) {
  text::BpeTrainerOptions options;
  if (may_chat(sources)) options.special_tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  const auto specials = static_cast<int>(options.special_tokens.size());
  std::uint64_t all = 0;
  for (const SourceText& source : sources) all += std::min(source.corpus.bytes(), most);
  options.vocab_size = static_cast<int>(wanted.vocab > 0 ? wanted.vocab : vocabulary_for(all));
  if (wanted.kind != "bpe") options.vocab_size = specials + 256;
  options.all_bytes = wanted.kind != "characters";
  if (wanted.kind != "bpe") options.min_frequency = std::numeric_limits<std::uint64_t>::max();  // no merges
  options.threads = threads;
  options.progress = [&](const char* what, std::uint64_t done, std::uint64_t of) {
    const auto whole = static_cast<double>(std::max<std::uint64_t>(1, of > 0 ? of : all));
    observer.preparing(std::string("tokenizer: ") + what, static_cast<double>(done) / whole);
  };
  TW_ASSIGN_OR_RETURN(text::BpeTrainer trainer, text::BpeTrainer::create(options));
  for (const SourceText& source : sources) {
    TW_RETURN_IF_ERROR(source.kind == SourceKind::kText ? add_text(source.corpus, most, trainer)
                                                        : add_lines(source, most, trainer));
  }
  const auto trained = trainer.train();
  if (!trained.ok())
    return Error{trained.error().code, trained.error().message, sources.front().corpus.path()};
  const text::TokenizerSpec& spec = *trained;
  TW_ASSIGN_OR_RETURN(std::string json, text::tokenizer_json(spec));
  return read_run_tokenizer(std::move(json), text::tokenizer_config_json(spec, 0, {}), {});
}

base::Result<std::string> read_optional(const std::string& path) {
  auto text = base::read_file(path);
  if (!text.ok() && text.error().code == Code::kNotFound) return std::string();
  return text;
}

/// Of everything that decides which tokens a text becomes.
std::string hash_of(const text::TokenizerSpec& spec) {
  io::Sha256 hash;
  const auto add = [&](std::string_view text) { hash.add(fmt::format("{}:", text.size())), hash.add(text); };
  for (const std::string& token : spec.tokens) add(token);
  for (const std::string& merge : spec.merges) add(merge);
  add({reinterpret_cast<const char*>(spec.scores.data()), spec.scores.size() * sizeof(float)});
  add({reinterpret_cast<const char*>(spec.types.data()), spec.types.size()});
  add(fmt::format("{} {} {} {} {} {} {}", static_cast<int>(spec.kind), spec.pre, spec.bos.value_or(-1),
                  spec.eos.value_or(-1), spec.add_bos, spec.add_space_prefix, spec.ignore_merges));
  return io::to_hex(hash.finish());
}

base::Result<RunTokenizer> as_it_is(text::TokenizerSpec spec, std::string chat_template) {
  RunTokenizer result;
  result.spec = std::move(spec);
  TW_ASSIGN_OR_RETURN(result.tokenizer, text::Tokenizer::create(result.spec));
  result.sha256 = hash_of(result.spec);
  result.cuts_safely = text::cuts_are_safe(result.spec);
  result.chat_template = std::move(chat_template);
  return result;
}

base::Result<RunTokenizer> open_tokenizer(const std::string& path, bool written) {
  namespace fs = std::filesystem;
  std::error_code failed;
  const bool folder = fs::is_directory(path, failed);
  if (path.ends_with(".gguf")) {
    TW_ASSIGN_OR_RETURN(const auto files, model::ModelFiles::open(path));
    TW_ASSIGN_OR_RETURN(const text::TokenizerSpec spec, files->tokenizer());
    auto json = text::tokenizer_json(spec);
    TW_ASSIGN_OR_RETURN(std::string chat, files->chat_template());
    if (!json.ok() && !written) return as_it_is(spec, std::move(chat));
    if (!json.ok()) return Error{json.error().code, json.error().message, path};
    return read_run_tokenizer(*std::move(json), text::tokenizer_config_json(spec, 0, {}), std::move(chat));
  }
  const std::string file = folder ? path + "/tokenizer.json" : path;
  const std::string beside = fs::path(file).parent_path().string();
  TW_ASSIGN_OR_RETURN(std::string json, base::read_file(file));
  TW_ASSIGN_OR_RETURN(std::string config,
                      read_optional((beside.empty() ? "." : beside) + "/tokenizer_config.json"));
  std::string chat;
  if (folder && fs::exists(path + "/config.json", failed)) {
    TW_ASSIGN_OR_RETURN(const auto files, model::ModelFiles::open(path));
    TW_ASSIGN_OR_RETURN(chat, files->chat_template());
  }
  auto read = read_run_tokenizer(std::move(json), std::move(config), std::move(chat));
  if (!read.ok()) return Error{read.error().code, read.error().text(), file};
  return read;
}

}  // namespace

base::Result<RunTokenizer> read_run_tokenizer(std::string json, std::string config_json,
                                              std::string chat_template) {
  RunTokenizer result;
  TW_ASSIGN_OR_RETURN(result.spec, text::parse_tokenizer_json(json, config_json));
  TW_ASSIGN_OR_RETURN(result.tokenizer, text::Tokenizer::create(result.spec));
  io::Sha256 hash;
  hash.add(json);
  result.sha256 = io::to_hex(hash.finish());
  result.cuts_safely = text::cuts_are_safe(result.spec);
  result.json = std::move(json);
  result.config_json = std::move(config_json);
  result.chat_template = std::move(chat_template);
  return result;
}

base::Result<std::optional<RunTokenizer>> read_kept_tokenizer(const std::string& folder) {
  const std::string file = folder + "/tokenizer.json";
  auto json = base::read_file(file);
  if (!json.ok() && json.error().code == Code::kNotFound) return std::optional<RunTokenizer>();
  if (!json.ok()) return json.error();
  TW_ASSIGN_OR_RETURN(std::string config, base::read_file(folder + "/tokenizer_config.json"));
  TW_ASSIGN_OR_RETURN(std::string chat, base::read_file(folder + "/chat_template.jinja"));
  auto read = read_run_tokenizer(*std::move(json), std::move(config), std::move(chat));
  if (read.ok()) return std::optional(*std::move(read));
  return Error{Code::kCorrupt, read.error().text() + ": start the run anew with --fresh", file};
}

Status keep_tokenizer(const RunTokenizer& tokenizer, const std::string& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return Error{Code::kIo, "cannot create the folder: " + failed.message(), folder};
  TW_RETURN_IF_ERROR(base::write_file_atomically(folder + "/tokenizer_config.json", tokenizer.config_json));
  TW_RETURN_IF_ERROR(base::write_file_atomically(folder + "/chat_template.jinja", tokenizer.chat_template));
  return base::write_file_atomically(folder + "/tokenizer.json",
                                     tokenizer.json);  // last: it says that all are there
}

base::Result<RunTokenizer> make_run_tokenizer(const spec::TrainTokenizer& wanted,
                                              const std::vector<SourceText>& sources, int threads,
                                              std::uint64_t most_bytes, bool written, RunObserver& observer) {
  auto made = wanted.kind == "file" ? open_tokenizer(wanted.path, written)
                                    : train_tokenizer(wanted, sources, threads, most_bytes, observer);
  if (!made.ok() || !may_chat(sources) || !made->chat_template.empty()) return made;
  for (const char* token : {"<|im_start|>", "<|im_end|>"}) {
    if (!made->tokenizer->find(token)) {
      if (!any(sources, SourceKind::kChat)) return made;
      return Error{
          Code::kInvalidArgument,
          fmt::format("has neither a chat template nor the token {}: it cannot tell conversations; train "
                      "a tokenizer (tokenizer.kind bpe) or take one that chats",
                      token),
          wanted.path};
    }
  }
  made->chat_template = kChatMl;
  return made;
}

}  // namespace tw::train
