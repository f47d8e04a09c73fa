// Any bytes as a recipe: it is read and says the same again when it is written, or one line tells what is
// wrong with it, and where.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "spec/recipe_words.h"
#include "spec/train_recipe.h"

namespace {

void check_line(const std::string& line) {
  TW_CHECK(!line.empty() && line.size() < 2000, "an error is told, and shortly");
  for (const char c : line) TW_CHECK(static_cast<unsigned char>(c) >= 0x20, "in one line");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tw;
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto config = spec::parse_recipe(text, "fuzz");
  if (!config.ok()) {
    check_line(config.error().text());
    TW_CHECK(config.error().where.starts_with("fuzz:"), "with its line");
    return 0;
  }
  const std::string written = base::dump_json(spec::recipe_json(*config));
  const auto again = spec::parse_recipe(written, "again");
  TW_CHECK(again.ok(), "what is written is read");
  TW_CHECK(base::dump_json(spec::recipe_json(*again)) == written, "and is the same");
  for (std::size_t stage = 0; stage < config->stages.size(); ++stage) {
    for (const spec::TrainField& field : spec::train_fields(*config, stage))
      TW_CHECK(field.not_given() || spec::check_field(field).ok(), "what is read keeps the rules of flags");
  }
  const auto valid = config->validate();
  if (valid.ok()) return 0;
  check_line(valid.error().text());
  check_line(spec::with_flags(valid.error().message, {.alone = true, .typed = {}, .data = "--data"}));
  return 0;
}
