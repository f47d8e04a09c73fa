#include <pthread.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/env.h"
#include "base/log.h"
#include "base/mmap.h"
#include "cli/engine_flags.h"
#include "serve/api.h"

namespace tw::cli {
namespace {

using base::Code;

base::Result<std::string> api_key(const spec::ServeConfig& config) {
  if (config.api_key_file.empty()) return base::env::api_key().value_or("");
  TW_ASSIGN_OR_RETURN(std::string text, base::read_file(config.api_key_file, 1 << 16));
  text.resize(std::min(text.size(), text.find_first_of("\r\n")));
  if (text.empty())
    return base::Error{Code::kInvalidArgument, "the first line is empty, but should be the API key",
                       config.api_key_file};
  return text;
}

http::ServerOptions server_options(const spec::ServeConfig& c) {
  http::ServerOptions options;
  options.host = c.host;
  options.port = c.port;
  options.tls_cert = c.tls_cert;
  options.tls_key = c.tls_key;
  options.cors_origin = c.cors_origin;
  options.server_name = "tokenworks/" TW_VERSION;
  return options;
}

/// From here on SIGINT and SIGTERM come to wait_for_signal alone; threads started later inherit that.
sigset_t block_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

/// What is left to do (writing packed weights, perhaps) need not be done.
void leave_on_signal(const sigset_t& set) {
  struct sigaction action{};
  action.sa_handler = [](int) { std::_Exit(0); };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

/// True when a signal came within the time.
bool wait_for_signal(const sigset_t& set, std::chrono::milliseconds time) {
  const timespec limit{time.count() / 1000, time.count() % 1000 * 1000000};
  return ::sigtimedwait(&set, nullptr, &limit) > 0;
}

/// The model and engine of one server, loaded by a thread of their own so that the server answers "loading"
/// at once and a signal is heard.
class Loader {
 public:
  /// Without `found` the default model is fetched first.
  Loader(std::optional<FoundModel> found, const spec::ServeConfig& config, serve::Api& api,
         std::string address)
      : fetches_(!found),
        found_(std::move(found)),
        config_(config),
        api_(api),
        address_(std::move(address)),
        thread_([this] { load(); }) {}
  ~Loader() {
    if (thread_.joinable()) thread_.join();
  }
  bool fetches() const { return fetches_; }
  bool done() const { return done_; }
  const std::optional<base::Error>& error() const { return error_; }
  void stop_engine() {
    if (thread_.joinable()) thread_.join();
    if (started_.engine != nullptr) started_.engine->stop();
  }

 private:
  void load();
  base::Result<Started> start();

  const bool fetches_;
  std::optional<FoundModel> found_;
  const spec::ServeConfig& config_;
  serve::Api& api_;
  std::string address_;
  Started started_;
  std::optional<base::Error> error_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

base::Result<Started> Loader::start() {
  if (!found_) {
    TW_ASSIGN_OR_RETURN(found_, find_model({}, true));
  }
  StartOptions options = start_options(config_);
  options.packed.announce = true;
  options.on_step = [this](std::int64_t tokens) { api_.record_step(tokens); };
  return start_engine(*found_, options);
}

void Loader::load() {
  auto started = start();
  if (!started.ok()) {
    error_ = started.error();
    done_ = true;
    return;
  }
  started_ = std::move(*started);
  const std::shared_ptr<model::ModelCard>& card = started_.card;
  if (!config_.served_name.empty()) card->name = config_.served_name;
  for (const std::string& warning : card->tokenizer->warnings())
    spdlog::warn("{}: {}", found_->path, warning);
  if (const auto attached = api_.attach(card, started_.engine.get()); !attached.ok()) {
    error_ = attached.error();
    done_ = true;
    return;
  }
  spdlog::info("{}: {}", card->name, started_.engine->description());
  if (config_.log_format == "json") {
    spdlog::info("{} is ready at {}", card->name, address_);  // a collector reads both streams: JSON alone
  } else {
    std::printf("%s is ready at %s\n", card->name.c_str(), address_.c_str());
    std::fflush(stdout);
  }
  done_ = true;
}

/// The model, or nothing: it is the default one and must be fetched.
base::Result<std::optional<FoundModel>> find_now(const std::string& model) {
  auto found = find_model(model, false);
  if (found.ok()) return std::optional<FoundModel>(std::move(*found));
  if (model.empty() && found.error().code == Code::kNotFound) return std::optional<FoundModel>();
  return found.error();
}

/// A fetch that is under way is ended in order; loading cannot be interrupted, and holds nothing that needs
/// it.
[[noreturn]] void leave_while_loading(const Loader& loader, http::Server& server) {
  cancel_pull();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(loader.fetches() ? 3 : 0);
  while (!loader.done() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  server.stop();
  std::_Exit(0);
}

/// Until a signal comes, or loading fails.
void wait_while_serving(const sigset_t& signals, const Loader& loader) {
  while (!wait_for_signal(signals, std::chrono::milliseconds(200))) {
    if (loader.done() && loader.error()) return;
  }
}

/// Until the running requests have finished, the time is up, or a second signal comes. New ones get 503.
void drain(const spec::ServeConfig& config, const sigset_t& signals, serve::Api& api, http::Server& server) {
  api.begin_drain();
  server.begin_drain();
  if (server.wait_idle(std::chrono::milliseconds(0))) return;
  spdlog::info("stopping: running requests get {} seconds; a second Ctrl-C ends them at once",
               config.drain_seconds);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(config.drain_seconds);
  while (std::chrono::steady_clock::now() < end && !server.wait_idle(std::chrono::milliseconds(50))) {
    if (wait_for_signal(signals, std::chrono::milliseconds(0))) return;
  }
}

int serve_model(const std::string& model, const spec::ServeConfig& config) {
  if (auto status = config.validate(); !status.ok()) return fail(status.error());
  base::init_logging(config.log_level,
                     config.log_format == "json" ? base::LogFormat::kJson : base::LogFormat::kText);
  auto key = api_key(config);
  if (!key.ok()) return fail(key.error());
  auto server = http::Server::create(server_options(config));  // first: a port in use should not cost a load
  if (!server.ok()) return fail(server.error());
  auto found = find_now(model);
  if (!found.ok()) return fail(found.error());

  const sigset_t signals = block_signals();
  serve::Api api({config, *key, TW_VERSION});
  api.mount(**server);
  (*server)->start();
  Loader loader(*found, config, api, (*server)->url());
  wait_while_serving(signals, loader);
  if (!loader.done()) leave_while_loading(loader, **server);
  drain(config, signals, api, **server);
  loader.stop_engine();  // answers that are left end with an error, which then still reaches their clients
  (*server)->wait_idle(std::chrono::seconds(2));
  (*server)->stop();
  api.stop();
  if (loader.error()) return fail(*loader.error());
  spdlog::info("stopped");
  leave_on_signal(signals);
  return 0;
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  struct Options {
    std::string model;
    spec::ServeConfig config;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      app.add_subcommand("serve", "Serve a model over HTTP: OpenAI's API, metrics, and a page to chat on.");
  verb->add_option("model", options->model,
                   "file, folder or name in the store (default: the default model, fetched if missing)");
  spec::ServeConfig::visit(options->config, FlagMaker{verb});
  // Other servers take the key itself. Here it would stand in the process list for every user to read.
  verb->add_option_function<std::string>(
          "--api-key",
          [](const std::string&) {
            throw CLI::ValidationError("--api-key",
                                       "others could read the key in the process list: put it into a file "
                                       "(--api-key-file FILE) or into TOKENWORKS_API_KEY");
          })
      ->group("");
  verb->footer(
      "Examples:\n  tokenworks serve\n  tokenworks serve model.gguf --port 9000 --ctx 4096\n"
      "  TOKENWORKS_API_KEY=secret tokenworks serve model.gguf --host 0.0.0.0 --tls-cert cert.pem --tls-key "
      "key.pem");
  verb->callback([options, &exit_code] { exit_code = serve_model(options->model, options->config); });
}

}  // namespace tw::cli
