// fake_server serve MODEL --host H --port N: the whole HTTP API with canned answers instead of a model, to
// test clients and the page where no model runs. MODEL is not read. --tools 0: a model without a chat
// template.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "serve/api.h"
#include "serve/fake_engine.h"

namespace {

using namespace tw;

constexpr std::string_view kStory =
    "Once there was a **small** server. It lived in a box, and it answered everyone who asked:\n\n"
    "1. first the short questions,\n2. then the long ones.\n\n```cpp\nint main() { return 0; }\n```\n\nThe "
    "end, Grüße!";

std::string answer(const infer::GenerateRequest& request, const std::string&) {
  std::string text(kStory);
  while (request.ignore_eos && text.size() < static_cast<std::size_t>(request.max_tokens)) text += kStory;
  return text;
}

std::string flag(int argc, char** argv, const char* name, const char* fallback) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], name) == 0) return argv[i + 1];
  }
  return fallback;
}

int complain(const base::Error& error) {
  std::fprintf(stderr, "fake_server: %s\n", error.text().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  serve::FakeOptions engine_options;
  engine_options.answer = answer;
  engine_options.follow_grammars = true;
  engine_options.token_time = std::chrono::milliseconds(1);
  engine_options.max_running = 8;
  engine_options.max_waiting = 64;
  serve::FakeEngine engine(engine_options);
  auto card = serve::fake_card(flag(argc, argv, "--tools", "1") == "1" ? serve::kFakeTemplate : "");
  if (!card.ok()) return complain(card.error());

  http::ServerOptions options;
  options.host = flag(argc, argv, "--host", "127.0.0.1");
  options.port = std::atoi(flag(argc, argv, "--port", "8080").c_str());
  auto server = http::Server::create(options);
  if (!server.ok()) return complain(server.error());
  serve::Api api({});
  api.mount(**server);
  (*server)->start();
  if (!api.attach(*card, &engine).ok()) return 1;
  std::printf("%s\n", (*server)->url().c_str());
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  api.begin_drain();
  (*server)->begin_drain();
  (*server)->wait_idle(std::chrono::seconds(5));
  (*server)->stop();
  api.stop();
  engine.stop();
  return 0;
}
