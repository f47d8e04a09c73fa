#include "base/hash64.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tw::base {
namespace {

// By the package xxhash of PyPI: xxhash.xxh64(bytes((i * 7 + 3) % 256 for i in range(n))).hexdigest()
TEST(Hash64, IsXxh64) {
  const std::pair<std::size_t, std::uint64_t> known[] = {
      {0, 0xEF46DB3751D8E999},   {1, 0x1F25C8D0BC1F4BB6},   {3, 0x31D2363F52E564C9},
      {4, 0x9BB64B7D66EE9FDA},   {7, 0x9A7B149959CE60D8},   {8, 0xDAB99D95C6F90092},
      {14, 0xC7F1D4D0ACFA5A14},  {31, 0xA2AA5F33CC4A6119},  {32, 0x23C3C17EF790FD97},
      {33, 0x50A7CFC7BA588784},  {63, 0x5E3E54B431C7493C},  {64, 0x0EB64B3EF6EEB01F},
      {100, 0xA61F8D4C170FE531}, {1000, 0x5F235FA033F1A3FB}};
  for (const auto& [length, hash] : known) {
    std::vector<std::byte> bytes(length);
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>((i * 7 + 3) % 256);
    EXPECT_EQ(hash64(bytes), hash) << length;
  }
  EXPECT_EQ(hash64(std::string_view("abc")), 0x44BC2CF5AD770999U);
}

}  // namespace
}  // namespace tw::base
