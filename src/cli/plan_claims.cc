#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/plan_inputs.h"
#include "cli/startup.h"
#include "plan/claims.h"
#include "plan/shipped.h"

namespace tw::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  bool json = false;
};

/// The shipped claims, or the files and those of the folders that are named.
base::Result<std::vector<std::pair<std::string, std::string>>> texts_of(const Options& options) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (const plan::ShippedFile& file : plan::shipped_files()) {
    if (options.files.empty() && file.name.starts_with("claims/"))
      texts.emplace_back(file.name.substr(7), file.text);
  }
  std::vector<std::string> paths;
  for (const std::string& name : options.files) {
    std::error_code ignored;
    if (!std::filesystem::is_directory(name, ignored)) {
      paths.push_back(name);
      continue;
    }
    std::error_code problem;
    for (std::filesystem::directory_iterator at(name, problem), end; !problem && at != end;
         at.increment(problem)) {
      if (at->path().extension() == ".json") paths.push_back(at->path().string());
    }
    if (problem) return base::Error{base::Code::kIo, problem.message(), name};
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    TW_ASSIGN_OR_RETURN(std::string text, read_small_file(path));
    texts.emplace_back(path, std::move(text));
  }
  return texts;
}

int run(const Options& options) {
  const auto texts = texts_of(options);
  if (!texts.ok()) return fail(texts.error());
  if (texts->empty())
    return fail(base::error(base::Code::kNotFound, "there are no claims in what was named"));
  int counts[3] = {0, 0, 0};
  for (const auto& [file, text] : *texts) {
    const auto claim = plan::check_claim(file, text);
    if (!claim.ok()) return fail(claim.error());
    ++counts[static_cast<int>(claim->verdict)];
    if (options.json)
      std::printf("%s\n", base::dump_json(claim_json(*claim)).c_str());
    else
      std::printf("%s\n", claim_text(*claim).c_str());
  }
  if (!options.json)
    std::printf("%d consistent, %d need an assumption, %d contradicted\n", counts[0], counts[1], counts[2]);
  return 0;
}

}  // namespace

void add_plan_claims(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand("claims", "Recompute what the trade press said, with the arithmetic.");
  verb->add_option("files", options->files,
                   "claim files or folders of them (default: those in the program, examples/claims)");
  verb->add_flag("--json", options->json, "one JSON line a claim");
  verb->footer("Examples:\n  tokenworks plan claims\n  tokenworks plan claims my-claim.json --json");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
