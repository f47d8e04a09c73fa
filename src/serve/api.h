// The HTTP API of one served model: OpenAI's endpoints, management, metrics and the built-in page, on an
// http::Server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "http/server.h"
#include "infer/engine.h"
#include "model/model_card.h"
#include "spec/serve_config.h"

namespace tw::serve {

struct ApiOptions {
  spec::ServeConfig config;
  std::string api_key;        ///< empty: nobody needs a key
  std::string version = "0";  ///< of this program
};

/// Life: construct, mount on a server, start the server (health says "loading"), load the model, attach; at
/// the end begin_drain, let the server become idle, stop the server, stop, stop the engine, destroy. All
/// methods are thread-safe.
class Api {
 public:
  explicit Api(ApiOptions options);
  /// REQUIRES: the server that it is mounted on has stopped, and so has the engine, after stop().
  ~Api();

  /// Routes, the key check, error bodies and the observer. Call before server.start(); the server must not be
  /// used after this object is gone.
  void mount(http::Server& server);

  /// Loads the adapters of the configuration; from then on requests are answered. `engine` must live until
  /// stop() has returned. Call once. Errors name the adapter and what is wrong with it.
  base::Status attach(std::shared_ptr<const model::ModelCard> card, infer::Engine* engine);

  /// For Engine::create's on_step.
  void record_step(std::int64_t tokens);

  /// New generation requests get 503 and readiness turns false; running ones finish.
  void begin_drain();

  /// Ends the threads that prepare requests; what waits for them is dropped. Idempotent.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tw::serve
