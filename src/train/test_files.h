// For this folder's tests: places to write, and a tokenizer of bytes.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "text/bpe_byte_level.h"
#include "text/tokenizer.h"

namespace tw::train {

/// A folder of this test's own, emptied.
inline std::string test_folder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(info->test_suite_name()) + "." + info->name();
  for (char& c : name) c = c == '/' ? '_' : c;
  const std::string path = std::string(TW_BINARY_DIR) + "/tests/train/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

inline void write_text(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// Token 0 stands before and after documents, 1 is "<|im_start|>", 2 "<|im_end|>", byte b is 3 + b.
inline text::TokenizerSpec byte_tokens() {
  text::TokenizerSpec spec;
  spec.tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  spec.types.assign(3, text::TokenType::kControl);
  for (int byte = 0; byte < 256; ++byte)
    spec.tokens.push_back(text::byte_level_encode(std::string(1, static_cast<char>(byte))));
  spec.types.resize(spec.tokens.size(), text::TokenType::kNormal);
  spec.pre = "gpt-2";
  spec.bos = spec.eos = 0;
  spec.add_bos = true;
  return spec;
}

inline std::unique_ptr<text::Tokenizer> byte_tokenizer() {
  auto tokenizer = text::Tokenizer::create(byte_tokens());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().text();
  return *std::move(tokenizer);
}

}  // namespace tw::train
