#include "text/content_parts.h"

#include <gtest/gtest.h>

namespace tw::text {
namespace {

base::Result<std::string> joined(const char* parts) {
  return join_content_parts(base::parse_ordered_json(parts).value());
}

TEST(ContentParts, AreLines) {
  EXPECT_EQ(joined("[]").value(), "");
  EXPECT_EQ(joined(R"([{"type": "text", "text": "a"}])").value(), "a");
  EXPECT_EQ(joined(R"([{"type": "text", "text": "ä"}, {"text": "b\n", "type": "input_text"}])").value(),
            "ä\nb\n");
}

TEST(ContentParts, OfOtherKindsAreNamed) {
  const auto error = [](const char* parts) { return joined(parts).error().text(); };
  const char* rule = ": only parts of type text are supported";
  EXPECT_EQ(error(R"([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}])"),
            std::string("[1]: is \"image_url\"") + rule);
  EXPECT_EQ(error(R"(["a"])"), std::string("[0]: is no part") + rule);
  EXPECT_EQ(error(R"([{"text": "a"}])"), std::string("[0]: is no part") + rule);
  EXPECT_EQ(error(R"([{"type": 7, "text": "a"}])"), std::string("[0]: is 7") + rule);
  EXPECT_EQ(error(R"([{"type": ["text"]}])"), std::string("[0]: is a list or object") + rule);
  EXPECT_EQ(error(("[{\"type\": \"" + std::string(90, 'x') + "\"}]").c_str()),
            std::string("[0]: is a text of 90 bytes") + rule);
  EXPECT_EQ(error(R"([{"type": "text"}])"), "[0].text: must be a string");
  EXPECT_EQ(error(R"([{"type": "text", "text": null}])"), "[0].text: must be a string");
}

}  // namespace
}  // namespace tw::text
