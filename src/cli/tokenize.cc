#include <cstdio>
#include <iostream>
#include <iterator>

#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/startup.h"

namespace tw::cli {
namespace {

struct Options {
  std::string model, text;
  bool ids_only = false, no_special = false;
};

/// In quotes as JSON; bytes that are no whole character as \x and two digits, which JSON does not know.
std::string shown(const std::string& piece) {
  if (base::is_valid_utf8(piece)) return base::dump_json(base::Json(piece));
  std::string text = "\"";
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte > 0x20 && byte < 0x7F ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return text + "\"";
}

int tokenize(const Options& options) {
  auto found = find_model(options.model, false);
  if (!found.ok()) return fail(found.error());
  auto files = model::ModelFiles::open(found->path);
  if (!files.ok()) return fail(files.error());
  auto card = model::read_card(**files, found->path);
  if (!card.ok()) return fail(card.error());
  const text::Tokenizer& tokenizer = *card->tokenizer;
  std::string input = options.text;
  if (input.empty()) input.assign(std::istreambuf_iterator<char>(std::cin), {});
  const auto ids = tokenizer.encode(input, {.add_special = !options.no_special, .parse_special = true});
  for (const std::int32_t id : ids) {
    if (options.ids_only)
      std::printf("%d\n", id);
    else
      std::printf("%8d  %s\n", id, shown(tokenizer.piece(id)).c_str());
  }
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("tokenize", "Show how a model cuts a text into tokens.");
  verb->add_option("model", options->model, "file, folder or name in the store")->required();
  verb->add_option("text", options->text, "the text (default: standard input)");
  verb->add_flag("--ids", options->ids_only, "print the ids alone, one a line");
  verb->add_flag("--no-special", options->no_special, "add no BOS or EOS");
  verb->footer(
      "Examples:\n  tokenworks tokenize smollm2-135m-instruct \"Hello world\"\n"
      "  tokenworks tokenize model.gguf --ids < article.txt | wc -l");
  verb->callback([options, &exit_code] { exit_code = tokenize(*options); });
}

}  // namespace tw::cli
