// Broken and hostile files: one clear error, never a crash (run under sanitizers to mean it).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "io/gguf.h"
#include "io/gguf_write.h"

namespace tw::io {
namespace {

using testing::HasSubstr;

/// A small file with every kind of thing in it.
std::string small_file() {
  static const std::vector<std::byte> data(72, std::byte{1});
  const TensorEntry tensors[] = {{"first", base::DType::kF32, {2, 4}, data.data(), 32},
                                 {"second", base::DType::kQ4_0, {4, 32}, data.data(), 72}};
  const GgufWriteMetadata metadata = {{"general.architecture", "llama"},
                                      {"count", std::uint32_t{3}},
                                      {"flags", std::vector<bool>{true, false}},
                                      {"tokens", std::vector<std::string>{"<s>", "a", "bc"}},
                                      {"scores", std::vector<float>{0.5F, -1}}};
  return *gguf_bytes(metadata, tensors);
}

base::Result<GgufFile> parse(const std::string& bytes) {
  return GgufFile::parse(std::as_bytes(std::span(bytes)), "bad.gguf");
}

/// Reads everything a caller could, so that sanitizers see every view.
std::size_t touch(const GgufFile& file) {
  std::size_t sum = 0;
  for (const auto& [key, value] : file.metadata()) {
    sum += value.to_text().size() + value.type_text().size();
    sum += value.as_strings() ? value.as_strings()->size() : 0;
    sum += value.as_ints() ? value.as_ints()->size() : 0;
    sum += value.as_floats() ? value.as_floats()->size() : 0;
  }
  for (const TensorEntry& tensor : file.tensors()) {
    for (std::size_t i = 0; i < tensor.bytes; ++i) sum += static_cast<std::size_t>(tensor.data[i]);
  }
  return sum;
}

template <typename T>
std::string patched(std::string bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
  return bytes;
}

/// The place of the first byte after `text`.
std::size_t after(const std::string& bytes, std::string_view text) {
  return bytes.find(text) + text.size();
}

std::string message(const std::string& bytes) {
  const auto file = parse(bytes);
  return file.ok() ? "" : file.error().text();
}

TEST(GgufCorruptTest, EveryTruncationIsRefusedByName) {
  const std::string whole = small_file();
  ASSERT_TRUE(parse(whole).ok()) << message(whole);
  const std::size_t padding_at_end = 32 - 72 % 32;  // readers need the tensors, not what follows them
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string cut(whole.data(), size);  // its own allocation: sanitizers see reads past the end
    const auto file = parse(cut);
    if (size >= whole.size() - padding_at_end) {
      ASSERT_TRUE(file.ok()) << size;
      touch(*file);
      continue;
    }
    ASSERT_FALSE(file.ok()) << size;
    EXPECT_THAT(file.error().text(), testing::StartsWith("bad.gguf: ")) << size;
    EXPECT_THAT(file.error().message, testing::AnyOf(HasSubstr("download it again"), HasSubstr("not a GGUF")))
        << size;
  }
}

TEST(GgufCorruptTest, EveryChangedByteIsSafe) {
  const std::string whole = small_file();
  int refused = 0, accepted = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      const auto file = parse(bytes);
      if (file.ok()) {
        ++accepted;
        touch(*file);
      } else {
        ++refused;
        EXPECT_EQ(file.error().where, "bad.gguf");
        EXPECT_FALSE(file.error().message.empty());
      }
    }
  }
  EXPECT_GT(refused, 300);
  EXPECT_GT(accepted, 300);  // letters of strings and values of tensors
}

TEST(GgufCorruptTest, HugeCountsAreRefusedBeforeAllocation) {
  const std::string file = small_file();
  const std::uint64_t huge = ~std::uint64_t{0} / 2;
  EXPECT_THAT(message(patched(file, 8, huge)), HasSubstr("tensors at byte 8"));
  EXPECT_THAT(message(patched(file, 16, huge)), HasSubstr("metadata keys at byte 16"));
  EXPECT_THAT(message(patched(file, 24, huge)), HasSubstr("the name of key 1 of 5"));
  EXPECT_THAT(message(patched(file, after(file, "tokens") + 8, huge)), HasSubstr("of key 'tokens'"));
  EXPECT_THAT(message(patched(file, after(file, "scores") + 8, huge)), HasSubstr("of key 'scores'"));
  EXPECT_THAT(message(patched(file, after(file, "tokens") + 16, huge)),
              HasSubstr("string 0 of key 'tokens'"));
}

TEST(GgufCorruptTest, TensorsMustMakeSense) {
  const std::string file = small_file();
  const std::size_t first = after(file, "first"), second = after(file, "second");
  EXPECT_THAT(message(patched(file, first, std::uint32_t{5})), HasSubstr("'first' has 5 dimensions"));
  EXPECT_THAT(message(patched(file, first + 4, std::int64_t{-1})), HasSubstr("dimension of size -1"));
  EXPECT_THAT(message(patched(file, first + 4, std::int64_t{0})), HasSubstr("dimension of size 0"));
  EXPECT_THAT(message(patched(file, first + 4, std::int64_t{1} << 62)), HasSubstr("impossible shape"));
  EXPECT_THAT(message(patched(file, first + 4, std::int64_t{1} << 40)),
              HasSubstr("cut off: tensor 'first' ends"));
  EXPECT_THAT(message(patched(file, first + 20, std::uint32_t{23})),
              HasSubstr("'first' has the type IQ4_XS (23)"));
  EXPECT_THAT(message(patched(file, first + 20, std::uint32_t{99})), HasSubstr("type 99 (unknown)"));
  EXPECT_THAT(message(patched(file, first + 24, std::uint64_t{4})),
              HasSubstr("not a multiple of the alignment 32"));
  EXPECT_THAT(message(patched(file, first + 24, ~std::uint64_t{31})), HasSubstr("cut off: tensor 'first'"));
  EXPECT_THAT(message(patched(file, second + 24, std::uint64_t{0})),
              HasSubstr("'first' and 'second' overlap"));
  EXPECT_THAT(message(patched(file, second + 4, std::int64_t{33})), HasSubstr("rows of 33 values, but Q4_0"));
  EXPECT_EQ(parse(patched(file, first + 20, std::uint32_t{23})).error().code, base::Code::kUnsupported);
}

TEST(GgufCorruptTest, NamesMustBeUniqueAndPresent) {
  const std::string file = small_file();
  std::string twice = file;
  twice.replace(twice.find("scores"), 6, "tokens");
  EXPECT_THAT(message(twice), HasSubstr("has the key 'tokens' twice"));
  const GgufWriteMetadata metadata = {{"k", std::uint32_t{1}}};
  const std::string nameless = *gguf_bytes(metadata, {});
  std::string shorter = patched(nameless, 24, std::uint64_t{0});
  shorter.erase(32, 1);
  EXPECT_THAT(message(shorter + "  "), HasSubstr("has no name"));
}

TEST(GgufCorruptTest, TypesAndBoolsAreChecked) {
  const std::string file = small_file();
  EXPECT_THAT(message(patched(file, after(file, "count"), std::uint32_t{13})),
              HasSubstr("unknown value type 13"));
  EXPECT_THAT(message(patched(file, after(file, "flags") + 16, std::uint8_t{2})),
              HasSubstr("neither 0 nor 1"));
}

std::string nested_arrays(int depth) {
  std::string out = *gguf_bytes({}, {});
  out = patched(out, 16, std::uint64_t{1});
  out.resize(24);
  out += std::string("\1\0\0\0\0\0\0\0k\x9\0\0\0", 13);
  for (int i = 0; i < depth; ++i) out += std::string("\x9\0\0\0\1\0\0\0\0\0\0\0", 12);
  return out + std::string("\x4\0\0\0\0\0\0\0\0\0\0\0", 12);
}

TEST(GgufCorruptTest, NestedArraysHaveALimit) {
  const std::string shallow = nested_arrays(2);
  const auto file = parse(shallow);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(file->value("k")->to_text(), "[1 arrays]");
  EXPECT_FALSE(file->get_ints("k").ok());
  EXPECT_THAT(message(nested_arrays(100000)), HasSubstr("nests arrays deeper than"));
}

std::string with_alignment(std::uint32_t alignment) {
  std::string bytes = *gguf_bytes({{"general.alignmen_", alignment}}, {});
  bytes[after(bytes, "general.alignmen")] = 't';
  return bytes;
}

TEST(GgufCorruptTest, AlignmentIsAPowerOfTwo) {
  EXPECT_EQ(message(with_alignment(64)), "");
  for (const std::uint32_t alignment : {0U, 1U, 4U, 24U, 1U << 30}) {
    EXPECT_THAT(message(with_alignment(alignment)), HasSubstr("must be a power of two")) << alignment;
  }
}

TEST(GgufCorruptTest, OtherFilesAreToldApart) {
  const std::string file = small_file();
  EXPECT_THAT(message("PK\3\4 a zip file"), HasSubstr("is not a GGUF file: it starts with 'PK"));
  EXPECT_THAT(message("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("Git LFS pointer"));
  EXPECT_THAT(message(patched(file, 4, std::uint32_t{1})), HasSubstr("is GGUF version 1"));
  EXPECT_THAT(message(patched(file, 4, std::uint32_t{0x03000000})), HasSubstr("big-endian"));
  EXPECT_EQ(message(patched(file, 4, std::uint32_t{2})), "");
  EXPECT_EQ(GgufFile::open("/nowhere/x.gguf").error().code, base::Code::kNotFound);
}

}  // namespace
}  // namespace tw::io
