#include "train/token_file.h"

#include <gmock/gmock.h>

#include <cstring>

#include "base/hash64.h"
#include "io/sha256.h"
#include "train/test_files.h"

namespace tw::train {
namespace {

using testing::HasSubstr;

const std::string kHash(64, 'b');

std::string written(const std::string& path, std::uint64_t vocabulary, bool mask) {
  auto writer = TokenFileWriter::create(path, vocabulary, kHash, mask);
  EXPECT_TRUE(writer.ok()) << writer.error().text();
  const std::int32_t last = static_cast<std::int32_t>(vocabulary - 1);
  const std::vector<std::int32_t> ids = {0, 5, last, 1, 2, 3, 4, 5, 6, last};
  const std::vector<std::uint8_t> learnt = {0, 1, 1, 0, 0, 0, 1, 0, 1, 1};
  const auto add = [&](std::size_t begin, std::size_t end) {
    const std::span<const std::uint8_t> bits(learnt);
    EXPECT_TRUE(writer
                    ->add(std::span(ids).subspan(begin, end - begin),
                          mask ? bits.subspan(begin, end - begin) : bits.first(0))
                    .ok());
  };
  add(0, 1), add(1, 3);
  writer->end_document();
  writer->end_document();  // of nothing: no document
  add(3, 9);
  writer->end_document();
  add(9, 10);
  const auto hash = writer->finish();
  EXPECT_TRUE(hash.ok()) << hash.error().text();
  return *hash;
}

TEST(TokenFile, ReadsWhatWasWritten) {
  for (const std::uint64_t vocabulary : {7u, 65536u, 65537u, 200000u}) {
    for (const bool mask : {false, true}) {
      const std::string path = test_folder() + "/a.tokens";
      const std::string hash = written(path, vocabulary, mask);
      const auto file = TokenFile::open(path);
      ASSERT_TRUE(file.ok()) << file.error().text();
      EXPECT_EQ(hash, *io::sha256_of_file(path));
      EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
      EXPECT_EQ(file->tokens(), 10u);
      ASSERT_EQ(file->documents(), 3u);
      EXPECT_EQ(file->vocabulary(), vocabulary);
      EXPECT_EQ(file->tokenizer_sha256(), kHash);
      EXPECT_EQ(file->offset(1), 3u);
      EXPECT_EQ(file->offset(2), 9u);
      EXPECT_EQ(file->offset(3), 10u);
      const std::uint32_t ids[] = {0, 5, static_cast<std::uint32_t>(vocabulary - 1), 1, 2, 3, 4,
                                   5, 6, static_cast<std::uint32_t>(vocabulary - 1)};
      const bool learnt[] = {false, true, true, false, false, false, true, false, true, true};
      EXPECT_EQ(file->has_mask(), mask);
      for (std::size_t i = 0; i < 10; ++i) {
        EXPECT_EQ(file->token(i), ids[i]);
        EXPECT_EQ(file->learnt(i), !mask || learnt[i]) << i;
      }
    }
  }
}

TEST(TokenFile, LeavesNothingWhenItIsGivenUp) {
  const std::string path = test_folder() + "/a.tokens";
  {
    auto writer = TokenFileWriter::create(path, 10, kHash, false);
    ASSERT_TRUE(writer.ok());
    const std::int32_t id = 1;
    ASSERT_TRUE(writer->add({&id, 1}).ok());
    EXPECT_TRUE(std::filesystem::exists(path + ".partial"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(std::filesystem::path(path).parent_path()));
}

/// Changes bytes of a good file, with the header's checksum put right.
class HostileTokenFile : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = test_folder() + "/a.tokens";
    written(path, 300, true);
    good_ = *base::read_file(path);
  }
  template <typename T>
  void expect(std::size_t offset, T value, const char* message, bool fix = true) {
    std::string bytes = good_;
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    const std::uint64_t hash = base::hash64(std::string_view(bytes).substr(0, kTokenHeaderBytes - 8));
    if (fix) std::memcpy(bytes.data() + kTokenHeaderBytes - 8, &hash, 8);
    expect_text(bytes, message);
  }
  static void expect_text(const std::string& text, const char* message) {
    std::vector<std::uint64_t> aligned(text.size() / 8 + 1);
    std::memcpy(aligned.data(), text.data(), text.size());
    const auto file = TokenFile::parse(std::as_bytes(std::span(aligned)).first(text.size()), "x.tokens");
    ASSERT_FALSE(file.ok()) << message;
    EXPECT_THAT(file.error().text(), HasSubstr(message));
    EXPECT_THAT(file.error().text(), HasSubstr("x.tokens: "));
  }
  std::string good_;
};

TEST_F(HostileTokenFile, IsRefused) {
  expect(0, 'X', "is no token file");
  expect(8, std::uint32_t{2}, "version 2; this program reads version 1");
  expect(12, std::uint32_t{4}, "impossible vocabulary size or token width");
  expect(16, std::uint32_t{2}, "flags that this program does not know");
  expect(20, std::uint32_t{1}, "flags that this program does not know");
  expect(24, std::uint64_t{0}, "impossible vocabulary size");
  expect(24, ~std::uint64_t{0}, "impossible vocabulary size");
  expect(32, std::uint64_t{13}, "bytes instead of");
  expect(32, ~std::uint64_t{0}, "impossible counts");
  expect(32, std::uint64_t{1} << 47, "bytes instead of");
  expect(40, std::uint64_t{11}, "impossible counts");
  expect(40, std::uint64_t{4}, "bytes instead of");
  expect(48, std::uint64_t{1}, "bytes instead of");
  expect(24, std::uint64_t{299}, "does not match its checksum", false);
  const std::size_t offsets = kTokenHeaderBytes + 24;
  expect(offsets, std::uint64_t{1}, "documents that do not cover its tokens");
  expect(offsets + 24, std::uint64_t{11}, "documents that do not cover its tokens");
  expect(offsets + 8, std::uint64_t{9}, "document 1 ends before it begins");
  expect(offsets + 8, ~std::uint64_t{0}, "document 1 ends before it begins");
  for (const std::size_t size : {std::size_t{0}, kTokenHeaderBytes - 1}) {
    expect_text(good_.substr(0, size), "is cut off in its header");
  }
  expect_text(good_.substr(0, good_.size() - 1), "bytes instead of");
  expect_text(good_ + "x", "bytes instead of");
}

}  // namespace
}  // namespace tw::train
