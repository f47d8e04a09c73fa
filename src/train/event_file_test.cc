// Against the bytes that TensorBoard's own writer makes (tools/make_event_golden.py).
#include "train/event_file.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/mmap.h"
#include "train/test_files.h"

namespace tw::train {
namespace {

TEST(EventFile, ChecksumIsCastagnolis) {
  // RFC 3720, B.4.
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
}

TEST(EventFile, BytesAreTensorBoards) {
  const std::string folder = test_folder();
  auto file = EventFile::create(folder + "/new/events", "golden", 40, 1790000000.25);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(file->path(), folder + "/new/events/events.out.tfevents.1790000000.golden");
  file->add(0, 1790000001.0, std::vector<Scalar>{{"loss", 10.5}, {"rate", 0.0}});
  file->add(1, 1790000001.5, std::vector<Scalar>{{"loss", -0.125}});
  const base::OrderedJson line = {{"step", 300},          {"stage", "core"}, {"loss", 2.75},
                                  {"tokens", 16384},      {"skipped", true}, {"validation_loss", nullptr},
                                  {"gradient_norm", 1e30}};
  file->add(line, 1790000002.0);
  file->add(base::OrderedJson{{"step", 301}, {"sample", "text"}}, 1790000003.0);  // no number: no event
  file->add(base::OrderedJson{{"loss", 1.0}}, 1790000003.0);
  file->add(std::int64_t{1} << 40, 1790000004.0, std::vector<Scalar>{{std::string(200, 't'), 1.0}});
  const std::string golden = TW_SOURCE_DIR "/tests/golden/events/events.out.tfevents.1790000000.golden";
  EXPECT_EQ(base::read_file(file->path()).value(), base::read_file(golden).value());
}

TEST(EventFile, APlaceThatCannotBeWrittenIsNamed) {
  const std::string folder = test_folder();
  write_text(folder + "/file", "");
  const auto refused = EventFile::create(folder + "/file", "x", 0, 1.0);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().text().find(folder + "/file"), std::string::npos);
}

}  // namespace
}  // namespace tw::train
