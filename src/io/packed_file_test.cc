#include "io/packed_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "base/hash64.h"
#include "io/packed_layout.h"

namespace tw::io {
namespace {

namespace fs = std::filesystem;
using base::Code;
using testing::HasSubstr;

std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    b = static_cast<std::byte>(seed >> 56);
  }
  return bytes;
}

const auto never = [] { return false; };

class Packed : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Three tensors: of an odd size, past a chunk of the writer, and of one byte.
  std::string written() {
    const auto status = write_packed_file(path_, identity_, tensors_, 0640, never);
    EXPECT_TRUE(status.ok()) << status.error().text();
    return base::read_file(path_).value();
  }
  /// Parses with a header whose checksum fits it again.
  static base::Result<PackedFile> parse(std::string& bytes) {
    std::uint64_t table = 0;
    std::memcpy(&table, bytes.data() + 24, 8);
    const std::size_t covered = kPackedFixedBytes + table;
    if (covered <= bytes.size() - 8) {
      const std::uint64_t checksum = base::hash64(std::string_view(bytes).substr(0, covered));
      std::memcpy(bytes.data() + covered, &checksum, 8);
    }
    return PackedFile::parse(std::as_bytes(std::span(bytes)), "name");
  }
  template <typename T>
  static std::string refusal(std::string bytes, std::size_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    const auto file = parse(bytes);
    if (file.ok()) return "none";
    EXPECT_EQ(file.error().where, "name");
    return file.error().message;
  }

  const std::string folder_ = testing::TempDir() + "tw_packed_file_" + std::to_string(getpid()),
                    path_ = folder_ + "/m.gguf.packed16";
  const PackedIdentity identity_{16, 1, 1234, -5, 0xABCDEF};
  const std::vector<std::byte> a_ = random_bytes(5001, 1), b_ = random_bytes(9'000'000, 2),
                               c_ = random_bytes(1, 3);
  std::vector<PackedTensor> tensors_{{"a", base::DType::kQ4_0, 16, 32, a_, 0},
                                     {"b.weight", base::DType::kQ6_K, 17, 256, b_, 0},
                                     {"", base::DType::kQ8_0, 1, 32, c_, 0}};
};

TEST_F(Packed, GivesBackWhatWasWritten) {
  written();
  auto file = PackedFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(file->identity(), identity_);
  EXPECT_EQ(file->file_bytes(), fs::file_size(path_));
  EXPECT_EQ(file->info().mode, 0640U);
  ASSERT_EQ(file->tensors().size(), 3U);
  for (const PackedTensor& expected : tensors_) {
    const PackedTensor* tensor = file->find(expected.name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->dtype, expected.dtype);
    EXPECT_EQ(tensor->n, expected.n);
    EXPECT_EQ(tensor->k, expected.k);
    EXPECT_TRUE(std::ranges::equal(tensor->data, expected.data));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor->data.data()) % 4096, 0U);
    EXPECT_TRUE(PackedFile::is_intact(*tensor));
  }
  EXPECT_EQ(file->find("c"), nullptr);
  EXPECT_FALSE(fs::exists(path_ + ".partial"));
}

TEST_F(Packed, EveryFlippedBitOfDataIsSeenAndCanBeMended) {
  const std::string bytes = written();
  for (const std::size_t at : {std::size_t{4096}, bytes.size() - 1, bytes.size() / 2}) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    ASSERT_TRUE(base::write_file_atomically(path_, damaged).ok());
    auto file = PackedFile::open(path_);
    ASSERT_TRUE(file.ok()) << file.error().text();
    int broken = 0;
    for (const PackedTensor& tensor : file->tensors()) {
      if (PackedFile::is_intact(tensor)) continue;
      ++broken;
      ASSERT_TRUE(base::allow_writing(tensor.data.data(), tensor.data.size()).ok());
      const auto offset =
          static_cast<std::size_t>(tensor.data.data() - file->tensors()[0].data.data()) + 4096;
      std::memcpy(const_cast<std::byte*>(tensor.data.data()), bytes.data() + offset, tensor.data.size());
      EXPECT_TRUE(PackedFile::is_intact(tensor));
    }
    EXPECT_EQ(broken, 1) << at;
  }
  EXPECT_NE(base::read_file(path_).value(), bytes) << "mending stays in the process";
}

TEST_F(Packed, EveryFlippedBitOfTheHeaderIsRefused) {
  const std::string bytes = written();
  std::uint64_t table = 0;
  std::memcpy(&table, bytes.data() + 24, 8);
  for (std::size_t at = 0; at < kPackedFixedBytes + table + 8; ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1 << at % 8);
    EXPECT_FALSE(PackedFile::parse(std::as_bytes(std::span(damaged)), "name").ok()) << at;
  }
}

TEST_F(Packed, HostileHeadersAreRefused) {
  const std::string bytes = written();
  std::string same = bytes;
  EXPECT_TRUE(parse(same).ok());
  EXPECT_THAT(refusal(bytes, 0, 'X'), HasSubstr("no file of packed weights"));
  EXPECT_THAT(refusal(bytes, 8, std::uint32_t{2}), HasSubstr("version 2"));
  EXPECT_THAT(refusal(bytes, 20, std::uint32_t{2}), HasSubstr("belong to no tensor"));
  EXPECT_THAT(refusal(bytes, 20, ~std::uint32_t{0}), HasSubstr("cut off"));
  EXPECT_THAT(refusal(bytes, 24, ~std::uint64_t{0}), HasSubstr("no room"));
  EXPECT_THAT(refusal(bytes, 24, ~std::uint64_t{0} - 64), HasSubstr("no room"));
  EXPECT_THAT(refusal(bytes, 32, std::uint64_t{1} << 60), HasSubstr("bytes instead of"));
  // The first tensor: name length at 64, name, type at 73, n, k, offset at 93, bytes, checksum.
  EXPECT_THAT(refusal(bytes, 64, ~std::uint64_t{0}), HasSubstr("cut off"));
  EXPECT_THAT(refusal(bytes, 73, std::uint32_t{999}), HasSubstr("impossible type"));
  EXPECT_THAT(refusal(bytes, 77, std::int64_t{-1}), HasSubstr("impossible type"));
  EXPECT_THAT(refusal(bytes, 85, std::int64_t{1} << 62), HasSubstr("impossible type"));
  EXPECT_THAT(refusal(bytes, 93, std::uint64_t{0}), HasSubstr("where it must"));
  EXPECT_THAT(refusal(bytes, 93, ~std::uint64_t{0} - 4095), HasSubstr("where it must"));
  EXPECT_THAT(refusal(bytes, 101, std::uint64_t{0}), HasSubstr("where it must"));
  EXPECT_THAT(refusal(bytes, 101, ~std::uint64_t{0}), HasSubstr("where it must"));
  tensors_[2].name = "a";
  EXPECT_THAT(refusal(written(), 0, 'T'), HasSubstr("two tensors 'a'"));
}

TEST_F(Packed, EveryTruncationIsRefused) {
  const std::string bytes = written();
  for (std::size_t size = 0; size < 400; ++size)
    EXPECT_FALSE(PackedFile::parse(std::as_bytes(std::span(bytes.data(), size)), "name").ok()) << size;
  EXPECT_FALSE(PackedFile::parse(std::as_bytes(std::span(bytes.data(), bytes.size() - 1)), "name").ok());
}

TEST_F(Packed, WritersTakeTurns) {
  std::vector<std::thread> writers;
  std::atomic<int> made{0}, left{0};
  writers.reserve(4);
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      const auto status = write_packed_file(path_, identity_, tensors_, 0644, never);
      ++(status.ok() ? made : left);
      EXPECT_TRUE(status.ok() || status.error().code == Code::kUnavailable);
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_GE(made, 1);
  EXPECT_EQ(made + left, 4);
  const auto file = PackedFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.error().text();
  for (const PackedTensor& tensor : file->tensors()) EXPECT_TRUE(PackedFile::is_intact(tensor));
  EXPECT_FALSE(fs::exists(path_ + ".partial"));
}

TEST_F(Packed, WhatACrashLeftIsWrittenOver) {
  ASSERT_TRUE(base::write_file_atomically(path_ + ".partial", std::string(20'000'000, 'x')).ok());
  const std::string bytes = written();
  EXPECT_TRUE(PackedFile::parse(std::as_bytes(std::span(bytes)), "name").ok());
}

TEST_F(Packed, CancelledOrFailedWritersLeaveNothing) {
  EXPECT_EQ(write_packed_file(path_, identity_, tensors_, 0644, [] { return true; }).error().code,
            Code::kCancelled);
  EXPECT_TRUE(fs::is_empty(folder_));
  EXPECT_EQ(write_packed_file(folder_ + "/none/x", identity_, tensors_, 0644, never).error().code, Code::kIo);
  fs::create_directories(path_ + "/not empty");
  EXPECT_EQ(write_packed_file(path_, identity_, tensors_, 0644, never).error().code, Code::kIo);
  EXPECT_FALSE(fs::exists(path_ + ".partial"));
}

TEST_F(Packed, LinksAreNotFollowed) {
  ASSERT_TRUE(base::write_file_atomically(folder_ + "/precious", "precious").ok());
  fs::create_symlink(folder_ + "/precious", path_ + ".partial");
  EXPECT_FALSE(write_packed_file(path_, identity_, tensors_, 0644, never).ok());
  EXPECT_EQ(base::read_file(folder_ + "/precious").value(), "precious");
}

TEST_F(Packed, FilesOfOthersStayWhenTheirsAreRemoved) {
  ASSERT_EQ(::setenv("XDG_CACHE_HOME", (folder_ + "/cache").c_str(), 1), 0);
  const std::string model = folder_ + "/m.gguf";
  const std::vector<std::string> places = packed_places(model, 16), others = packed_places(model, 8);
  ASSERT_EQ(places.size(), 2U);
  EXPECT_EQ(places[0], path_);
  EXPECT_THAT(places[1], testing::StartsWith(folder_ + "/cache/tokenworks/m.gguf-"));
  EXPECT_NE(places[1], packed_places(folder_ + "/x/m.gguf", 16)[1]);
  fs::create_directories(fs::path(places[1]).parent_path());
  for (const std::string& place : {places[0], places[1], others[0]})
    ASSERT_TRUE(write_packed_file(place, identity_, tensors_, 0644, never).ok());
  ASSERT_TRUE(base::write_file_atomically(others[1], "not ours").ok());
  remove_packed_files(model);
  EXPECT_FALSE(fs::exists(places[0]));
  EXPECT_FALSE(fs::exists(places[1]));
  EXPECT_FALSE(fs::exists(others[0]));
  EXPECT_TRUE(fs::exists(others[1]));
  ::unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace tw::io
