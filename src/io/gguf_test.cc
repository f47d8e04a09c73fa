#include "io/gguf.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "io/gguf_write.h"

namespace tw::io {
namespace {

const std::string kStories = TW_SOURCE_DIR "/tests/data/models/stories260K.gguf";

TEST(GgufFileTest, ReadsStories260K) {
  const auto file = GgufFile::open(kStories);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(file->version(), 3U);
  EXPECT_EQ(file->file_bytes(), std::filesystem::file_size(kStories));
  EXPECT_EQ(file->tensors().size(), 47U);
  EXPECT_EQ(*file->get_string("general.architecture"), "llama");
  EXPECT_EQ(*file->get_uint("llama.attention.head_count_kv"), 4U);
  EXPECT_FLOAT_EQ(static_cast<float>(*file->get_float("llama.attention.layer_norm_rms_epsilon")), 1e-5F);
  EXPECT_TRUE(*file->get_bool("tokenizer.ggml.add_bos_token"));
  const auto tokens = file->get_strings("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens->size(), 512U);
  EXPECT_EQ((*tokens)[3], "<0x00>");
  EXPECT_EQ(file->get_floats("tokenizer.ggml.scores")->size(), 512U);
  EXPECT_EQ((*file->get_ints("tokenizer.ggml.token_type"))[1], 3);
  const TensorEntry* down = file->find("blk.4.ffn_down.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->shape, (std::vector<std::int64_t>{64, 172}));
  EXPECT_EQ(down->dtype, base::DType::kF32);
  EXPECT_EQ(down->bytes, 64U * 172U * 4U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(down->data) % 32, 0U);
  EXPECT_EQ(file->find("output.weight"), nullptr);
}

TEST(GgufFileTest, StaysValidWhenMoved) {
  auto opened = GgufFile::open(kStories);
  ASSERT_TRUE(opened.ok());
  const TensorEntry* entry = opened->find("output_norm.weight");
  const auto first = *entry->data;
  const GgufFile moved = std::move(opened).value();
  EXPECT_EQ(moved.find("output_norm.weight"), entry);
  EXPECT_EQ(*entry->data, first);
  EXPECT_EQ(*moved.get_string("general.name"), "stories260K");
}

GgufWriteMetadata all_types() {
  return {{"u32", std::uint32_t{7}},
          {"i32", std::int32_t{-7}},
          {"u64", ~std::uint64_t{0}},
          {"i64", std::int64_t{1} << 40},
          {"f32", 0.5F},
          {"f64", 0.1},
          {"yes", true},
          {"text", "tab\tand \xFF"},
          {"texts", std::vector<std::string>{"a", "", "\u00e9"}},
          {"floats", std::vector<float>{1, 2, 3}},
          {"ints", std::vector<std::int32_t>{1, -2}},
          {"bools", std::vector<bool>{true, false}}};
}

GgufFile parsed(const std::string& bytes) {
  auto file = GgufFile::parse(std::as_bytes(std::span(bytes)), "memory");
  EXPECT_TRUE(file.ok()) << (file.ok() ? "" : file.error().text());
  return std::move(file).value();
}

TEST(GgufFileTest, ReadsEveryValueTypeItWrites) {
  const auto bytes = gguf_bytes(all_types(), {});
  ASSERT_TRUE(bytes.ok());
  const GgufFile file = parsed(*bytes);
  EXPECT_EQ(*file.get_uint("u32"), 7U);
  EXPECT_EQ(*file.get_int("i32"), -7);
  EXPECT_EQ(*file.get_uint("u64"), ~std::uint64_t{0});
  EXPECT_EQ(*file.get_int("i64"), std::int64_t{1} << 40);
  EXPECT_EQ(*file.get_float("f32"), 0.5);
  EXPECT_EQ(*file.get_float("f64"), 0.1);
  EXPECT_EQ(*file.get_float("i32"), -7.0);
  EXPECT_TRUE(*file.get_bool("yes"));
  EXPECT_EQ(*file.get_string("text"), "tab\tand \xFF");
  EXPECT_EQ(*file.get_strings("texts"), (std::vector<std::string_view>{"a", "", "\u00e9"}));
  EXPECT_EQ(*file.get_floats("floats"), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(*file.get_ints("ints"), (std::vector<std::int64_t>{1, -2}));
  EXPECT_EQ(*file.get_ints("bools"), (std::vector<std::int64_t>{1, 0}));
  EXPECT_EQ(file.metadata().size(), 12U);
  EXPECT_EQ(file.metadata()[2].key, "u64");
}

TEST(GgufFileTest, PrintsValues) {
  const auto bytes = gguf_bytes(all_types(), {});
  const GgufFile file = parsed(*bytes);
  EXPECT_EQ(file.value("i32")->to_text(), "-7");
  EXPECT_EQ(file.value("text")->to_text(), "'tab\\x09and \\xFF'");
  EXPECT_EQ(file.value("texts")->to_text(2), "['a', '', ... 3 in all]");
  EXPECT_EQ(file.value("bools")->to_text(), "[true, false]");
  EXPECT_EQ(file.value("f32")->to_text(), "0.5");
  EXPECT_EQ(file.value("texts")->type_text(), "array of 3 string");
}

TEST(GgufFileTest, TypedAccessNamesKeyAndTypes) {
  const auto bytes = gguf_bytes(all_types(), {});
  const GgufFile file = parsed(*bytes);
  const auto wrong = file.get_uint("text");
  EXPECT_EQ(wrong.error().code, base::Code::kInvalidArgument);
  EXPECT_EQ(wrong.error().text(),
            "memory: key 'text' should be an integer not below 0 but is string ('tab\\x09and \\xFF')");
  EXPECT_EQ(file.get_uint("i32").error().code, base::Code::kInvalidArgument);
  EXPECT_EQ(file.get_int("u64").error().code, base::Code::kInvalidArgument);
  EXPECT_EQ(file.get_bool("u32").error().code, base::Code::kInvalidArgument);
  EXPECT_EQ(file.get_string("none").error().code, base::Code::kNotFound);
  EXPECT_EQ(*file.get_uint("none", 5), 5U);
  EXPECT_EQ(*file.get_string("none", "x"), "x");
  EXPECT_FALSE(file.get_uint("text", 5).ok());
}

TEST(GgufWriteTest, TensorsComeBackAligned) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<std::byte> q(36, std::byte{9});
  const TensorEntry tensors[] = {
      {"a", base::DType::kF32, {2, 3}, reinterpret_cast<const std::byte*>(a.data()), 24},
      {"q", base::DType::kQ4_0, {1, 2, 32}, q.data(), 36}};
  const std::string path = testing::TempDir() + "tensors_" + std::to_string(getpid()) + ".gguf";
  ASSERT_TRUE(write_gguf(path, {{"general.architecture", "none"}}, tensors).ok());
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().text();
  ASSERT_EQ(file->tensors().size(), 2U);
  EXPECT_EQ(file->find("a")->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(file->find("a")->data, a.data(), 24), 0);
  EXPECT_EQ(file->find("q")->shape, (std::vector<std::int64_t>{1, 2, 32}));
  EXPECT_EQ(std::memcmp(file->find("q")->data, q.data(), 36), 0);
  EXPECT_EQ(file->find("q")->elements(), 64);
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST(GgufWriteTest, RefusesWhatCannotBeRead) {
  const std::vector<std::byte> data(64);
  const auto status = [&](const TensorEntry& entry) { return gguf_bytes({}, std::span(&entry, 1)).ok(); };
  EXPECT_TRUE(status({"a", base::DType::kF32, {4}, data.data(), 16}));
  EXPECT_FALSE(status({"a", base::DType::kF32, {4}, data.data(), 12}));
  EXPECT_FALSE(status({"", base::DType::kF32, {4}, data.data(), 16}));
  EXPECT_FALSE(status({"a", base::DType::kF32, {1, 1, 1, 1, 4}, data.data(), 16}));
  EXPECT_FALSE(status({"a", base::DType::kQ4_0, {2, 16}, data.data(), 18}));
  EXPECT_FALSE(status({"a", base::DType::kF32, {}, data.data(), 4}));
  const TensorEntry twice[] = {{"a", base::DType::kF32, {4}, data.data(), 16},
                               {"a", base::DType::kF32, {4}, data.data(), 16}};
  EXPECT_FALSE(gguf_bytes({}, twice).ok());
  EXPECT_FALSE(gguf_bytes({{"k", true}, {"k", true}}, {}).ok());
  EXPECT_FALSE(gguf_bytes({{"general.alignment", std::uint32_t{64}}}, {}).ok());
}

}  // namespace
}  // namespace tw::io
