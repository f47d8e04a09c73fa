#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "io/safetensors_folder.h"

namespace tw::io {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

const char kHeader[] =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]},)"
    R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"u":{"dtype":"U8","shape":[2],"data_offsets":[22,24]}})";

std::string small_file() {
  return file_of(kHeader, std::string(24, '\1'));
}

base::Result<SafetensorsFile> parse(const std::string& bytes) {
  return SafetensorsFile::parse(std::as_bytes(std::span(bytes)), "bad.safetensors");
}

std::string message(const std::string& bytes) {
  const auto file = parse(bytes);
  return file.ok() ? "" : file.error().text();
}

/// A file of one tensor `t` described by `members`, with 16 bytes of data.
std::string one(const std::string& members) {
  return file_of("{\"t\":{" + members + "}}", std::string(16, 'x'));
}

void touch(const SafetensorsFile& file) {
  for (const TensorEntry& tensor : file.tensors()) {
    std::vector<std::byte> copy(tensor.data, tensor.data + tensor.bytes);
    ASSERT_EQ(file.find(tensor.name), &tensor);
  }
}

TEST(SafetensorsFileTest, ReadsTensorsAndMetadata) {
  const std::string bytes = small_file();
  const auto file = parse(bytes);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(file->metadata().at("format"), "pt");
  ASSERT_EQ(file->tensors().size(), 2U);
  EXPECT_EQ(file->tensors()[0].name, "a");
  EXPECT_EQ(file->find("a")->shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(file->find("b")->dtype, base::DType::kF16);
  EXPECT_EQ(file->find("b")->bytes, 6U);
  EXPECT_EQ(file->find("c"), nullptr);
}

TEST(SafetensorsFileTest, UnreadableTypesAreErrorsOnlyWhenUsed) {
  const std::string bytes = small_file();
  const auto file = parse(bytes);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->get("a").ok());
  EXPECT_EQ(file->get("c").error().code, base::Code::kNotFound);
  const auto unreadable = file->get("u");
  EXPECT_EQ(unreadable.error().code, base::Code::kUnsupported);
  EXPECT_EQ(
      unreadable.error().text(),
      "bad.safetensors: tensor 'u' has the type U8, which cannot be read; use F32, F16 or BF16 weights");
}

TEST(SafetensorsFileTest, DataIsAlignedWhateverTheHeaderLength) {
  for (int spaces = 0; spaces < 8; ++spaces) {
    const std::string header =
        R"({"t":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}})" + std::string(spaces, ' ');
    const std::string bytes = file_of(header, "0123456789abcdef");
    const auto file = parse(bytes);
    ASSERT_TRUE(file.ok()) << file.error().text();
    const TensorEntry* entry = file->find("t");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(entry->data) % 8, 0U);
    EXPECT_EQ(std::memcmp(entry->data, "0123456789abcdef", 16), 0);
  }
}

TEST(SafetensorsFileTest, EmptyTensorsAndScalarsAreFine) {
  const std::string bytes = file_of(
      R"({"e":{"dtype":"F32","shape":[0,4],"data_offsets":[4,4]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
      "abcd");
  const auto file = parse(bytes);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(file->find("e")->elements(), 0);
  EXPECT_EQ(file->find("s")->elements(), 1);
  EXPECT_TRUE(parse(file_of("{}", "")).ok());
}

TEST(SafetensorsCorruptTest, EveryTruncationIsRefusedByName) {
  const std::string whole = small_file();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string cut(whole.data(), size);
    EXPECT_THAT(message(cut), StartsWith("bad.safetensors: ")) << size;
  }
  EXPECT_THAT(message(whole + "x"), HasSubstr("has 1 bytes after the last tensor"));
}

TEST(SafetensorsCorruptTest, EveryChangedByteIsSafe) {
  const std::string whole = small_file();
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {0x01, 0x04, 0x10, 0x80, 0xFF}) {
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      const auto file = parse(bytes);
      if (file.ok()) {
        touch(*file);
      } else {
        ++refused;
        ASSERT_EQ(file.error().where, "bad.safetensors");
      }
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(SafetensorsCorruptTest, HeaderMustMakeSense) {
  const std::uint64_t huge = 100'000'001;
  EXPECT_THAT(message(std::string(reinterpret_cast<const char*>(&huge), 8)),
              HasSubstr("not a safetensors file"));
  EXPECT_THAT(message(file_of("{\"a\":", "")), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message(file_of("[]", "")), HasSubstr("not a JSON object"));
  EXPECT_THAT(message(file_of("{\"a\":1}", "")), HasSubstr("'a': is not described by an object"));
  EXPECT_THAT(message(file_of("{\"a\":\"\xFF\"}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(message(file_of(R"({"__metadata__":{"a":1}})", "")),
              HasSubstr("__metadata__ 'a' is not a string"));
  const std::string deep = "{\"a\":" + std::string(1000000, '[') + std::string(1000000, ']') + "}";
  EXPECT_THAT(message(file_of(deep, "")), HasSubstr("nested deeper"));
}

TEST(SafetensorsCorruptTest, TensorsMustMakeSense) {
  EXPECT_EQ(message(one(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])")), "");
  EXPECT_THAT(message(one(R"("shape":[4],"data_offsets":[0,16])")), HasSubstr("'t': dtype is missing"));
  EXPECT_THAT(message(one(R"("dtype":"F99","shape":[4],"data_offsets":[0,16])")),
              HasSubstr("'F99' is unknown"));
  EXPECT_THAT(message(one(R"("dtype":"F32","data_offsets":[0,16])")), HasSubstr("shape is not an array"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[-4],"data_offsets":[0,16])")),
              HasSubstr("no possible size"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[4.0],"data_offsets":[0,16])")),
              HasSubstr("no possible size"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,16])")),
              HasSubstr("no possible size"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16])")),
              HasSubstr("cannot have 16 bytes"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[5],"data_offsets":[0,16])")),
              HasSubstr("cannot have 16 bytes"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[4],"data_offsets":[16,0])")), HasSubstr("are no range"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[5],"data_offsets":[0,20])")), HasSubstr("cut off"));
  EXPECT_THAT(message(one(R"("dtype":"F32","shape":[3],"data_offsets":[4,16])")),
              HasSubstr("leaving a gap after"));
  EXPECT_THAT(message(one(R"("dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16])")),
              HasSubstr("key 'dtype' twice"));
  const std::string tensor = R"("t":{"dtype":"F32","shape":[4],"data_offsets":[0,16]})";
  EXPECT_THAT(message(file_of("{" + tensor + "," + tensor + "}", std::string(16, 'x'))),
              HasSubstr("key 't' twice"));
  const std::string other = R"("o":{"dtype":"F32","shape":[2],"data_offsets":[8,16]})";
  EXPECT_THAT(message(file_of("{" + tensor + "," + other + "}", std::string(16, 'x'))),
              HasSubstr("overlapping"));
}

class SafetensorsFolderTest : public testing::Test {
 protected:
  SafetensorsFolderTest()
      : folder_(testing::TempDir() + "safetensors_folder_test_" + std::to_string(getpid())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
  }
  void write_tensor(const std::string& file, const std::string& tensor) {
    write(file, file_of("{\"" + tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd"));
  }
  std::string failure(const std::string& path) {
    const auto folder = SafetensorsFolder::open(path);
    return folder.ok() ? "" : folder.error().text();
  }

  std::string folder_;
};

TEST_F(SafetensorsFolderTest, FollowsTheIndex) {
  write_tensor("one.safetensors", "a");
  write_tensor("two.safetensors", "b");
  write_tensor("stray.safetensors", "a");
  write("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  for (const std::string& path : {folder_, folder_ + "/model.safetensors.index.json"}) {
    auto opened = SafetensorsFolder::open(path);
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    const SafetensorsFolder folder = std::move(opened).value();
    EXPECT_EQ(folder.files().size(), 2U);
    EXPECT_EQ(folder.tensors().size(), 2U);
    EXPECT_EQ(folder.find("b"), folder.tensors()[1]);
    EXPECT_EQ(std::memcmp(folder.find("b")->data, "abcd", 4), 0);
    EXPECT_EQ(folder.get("c").error().code, base::Code::kNotFound);
  }
}

TEST_F(SafetensorsFolderTest, TakesASingleFileOrAllFiles) {
  EXPECT_THAT(failure(folder_), HasSubstr("has no .safetensors file"));
  write_tensor("x-1.safetensors", "a");
  write_tensor("x-2.safetensors", "b");
  EXPECT_EQ(SafetensorsFolder::open(folder_)->tensors().size(), 2U);
  EXPECT_EQ(SafetensorsFolder::open(folder_ + "/x-2.safetensors")->tensors().size(), 1U);
  write_tensor("model.safetensors", "a");
  EXPECT_EQ(SafetensorsFolder::open(folder_)->tensors().size(), 1U);
}

TEST_F(SafetensorsFolderTest, RefusesBrokenFolders) {
  write_tensor("one.safetensors", "a");
  write_tensor("two.safetensors", "a");
  EXPECT_THAT(failure(folder_), HasSubstr("has the tensor 'a', which"));
  const auto with_index = [&](const std::string& index) {
    write("model.safetensors.index.json", index);
    return failure(folder_);
  };
  EXPECT_THAT(with_index(R"({"weight_map":{"a":"../one.safetensors"}})"), HasSubstr("no plain file name"));
  EXPECT_THAT(with_index(R"({"weight_map":{"a":"/etc/passwd"}})"), HasSubstr("no plain file name"));
  EXPECT_THAT(with_index(R"({"weight_map":{"a":7}})"), HasSubstr("no plain file name"));
  EXPECT_THAT(with_index(R"({"weight_map":{"a":"three.safetensors"}})"),
              HasSubstr("three.safetensors: cannot open"));
  EXPECT_THAT(with_index(R"({"weight_map":{"b":"one.safetensors"}})"), HasSubstr("lacks the tensor 'b'"));
  EXPECT_THAT(with_index(R"({"weight_map":{}})"), HasSubstr("no weight_map"));
  EXPECT_THAT(with_index("[1]"), HasSubstr("no weight_map"));
  EXPECT_THAT(with_index("{"), HasSubstr("not valid JSON"));
}

}  // namespace
}  // namespace tw::io
