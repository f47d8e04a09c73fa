#include "spec/serve_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/mmap.h"

namespace tw::spec {
namespace {

using testing::HasSubstr;

/// The guide's table is made from the list of fields.
TEST(ServeConfig, EveryFlagIsInTheGuide) {
  const auto guide = base::read_file(TW_SOURCE_DIR "/docs/guides/serve.md");
  ASSERT_TRUE(guide.ok());
  const std::string table =
      guide->substr(guide->find("## Flags"), guide->find("## Threads") - guide->find("## Flags"));
  ServeConfig config;
  ServeConfig::visit(config, [&](const char* name, auto&, const char*) {
    EXPECT_THAT(table, HasSubstr(fmt::format("`--{}`", name)));
  });
}

TEST(ServeConfig, DefaultsAreValid) {
  EXPECT_TRUE(ServeConfig().validate().ok());
}

TEST(ServeConfig, NamesTheFlagItsValueAndItsRange) {
  const auto problem = [](auto change) {
    ServeConfig config;
    change(config);
    const base::Status status = config.validate();
    return status.ok() ? std::string() : status.error().text();
  };
  EXPECT_THAT(problem([](auto& c) { c.port = 65536; }), HasSubstr("--port is 65536, but must be 0 to 65535"));
  EXPECT_THAT(problem([](auto& c) { c.ctx = std::int64_t{1} << 40; }), HasSubstr("--ctx"));
  EXPECT_THAT(problem([](auto& c) { c.max_step_tokens = 513; }), HasSubstr("1 to 512"));
  EXPECT_THAT(problem([](auto& c) { c.kv_type = "f8"; }), HasSubstr("must be f16, bf16, int8 or f32"));
  EXPECT_THAT(problem([](auto& c) { c.log_level = "loud"; }), HasSubstr("--log-level"));
  EXPECT_THAT(problem([](auto& c) { c.kv_memory = std::nan(""); }), HasSubstr("--kv-memory"));
  EXPECT_THAT(problem([](auto& c) { c.decode_stretch = -1; }), HasSubstr("--decode-stretch"));
  EXPECT_THAT(problem([](auto& c) { c.cpus = "0-"; }), HasSubstr("--cpus"));
  EXPECT_THAT(problem([](auto& c) { c.tls_cert = "cert.pem"; }), HasSubstr("go together"));
}

}  // namespace
}  // namespace tw::spec
