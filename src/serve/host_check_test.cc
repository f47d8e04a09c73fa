// Which Host headers a server on loopback answers to.
#include "serve/host_check.h"

#include <unistd.h>

#include "http/test_client.h"
#include "serve/test_server.h"

namespace tw::serve {
namespace {

using ::testing::HasSubstr;

TEST(HostCheck, KnowsThisMachineByItsNamesAndAddresses) {
  const HostCheck check({"Box.Example"});
  char machine[256] = {};
  ASSERT_EQ(::gethostname(machine, sizeof(machine) - 1), 0);
  for (const std::string host :
       {"", "localhost", "LocalHost:8080", "localhost.", "app.localhost:1", "127.0.0.1", "127.0.0.1:8080",
        "192.168.1.5:80", "[::1]", "[::1]:8080", "[fe80::1]:80", "box.example", "BOX.example:9",
        static_cast<const char*>(machine)})
    EXPECT_TRUE(check.knows(host)) << host;
  for (const std::string host : {"evil.example", "evil.example:8080", "localhost.evil.example",
                                 "notlocalhost", "127.0.0.1.evil.example", "1.2.3", "box.example.evil",
                                 "sub.box.example", "[evil.example]", "[", "::1evil"})
    EXPECT_FALSE(check.knows(host)) << host;
}

int status_for(TestServer& server, const std::string& host) {
  return server.get("/v1/models", {{"Host", host}}).status;
}

TEST(HostCheck, StopsAReboundPage) {
  TestServerOptions options;
  options.api.config.allow_host = {"box.example", "other.example"};
  TestServer server(options);
  EXPECT_EQ(status_for(server, "localhost:1"), 200);
  EXPECT_EQ(status_for(server, "box.example"), 200);
  EXPECT_EQ(status_for(server, "other.example:8080"), 200);
  const auto refused = server.post("/v1/chat/completions", "{}", {{"Host", "evil.example:8080"}});
  EXPECT_EQ(refused.status, 403);
  const auto error = parse(refused.body)["error"];
  EXPECT_EQ(error["code"], "host_not_allowed");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("'evil.example'"));
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("--allow-host evil.example"));
  EXPECT_EQ(server.get("/", {{"Host", "evil.example"}}).status, 403) << "the page, too";
  http::RawClient old(server.port());
  old.send("GET /v1/models HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.read_all(), HasSubstr("200 OK")) << "no Host at all";
}

TEST(HostCheck, IsNotNeededWithAKey) {
  TestServerOptions options;
  options.api.api_key = "s3cret";
  TestServer server(options);
  EXPECT_EQ(server.get("/v1/models", {{"Host", "evil.example"}, {"Authorization", "Bearer s3cret"}}).status,
            200);
}

TEST(HostCheck, IsNotForServersThatOthersReach) {
  TestServerOptions options;
  options.host = "0.0.0.0";
  TestServer server(options);
  const auto answer =
      http::get(fmt::format("http://127.0.0.1:{}/v1/models", server.port()), {{"Host", "box.example"}});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->status, 200);
}

}  // namespace
}  // namespace tw::serve
