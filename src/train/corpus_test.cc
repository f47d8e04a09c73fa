#include "train/corpus.h"

#include <gmock/gmock.h>

#include "train/test_files.h"
#include "train/tokenize_corpus.h"

namespace tw::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kHash(64, 'c');

std::vector<std::string> documents(const Corpus& corpus, std::uint64_t group_bytes) {
  std::vector<std::string> list;
  const base::Status status = corpus.each_group(group_bytes, [&](std::span<const Document> group) {
    for (const Document& document : group) list.emplace_back(document.text);
    return base::Status(base::Ok{});
  });
  EXPECT_TRUE(status.ok()) << status.error().text();
  return list;
}

TEST(Corpus, ReadsTextMarkdownAndJsonLines) {
  const std::string folder = test_folder();
  write_text(folder + "/b.md", "\xEF\xBB\xBF# Heading\n");
  write_text(folder + "/a.txt", "one");
  write_text(folder + "/sub/c.jsonl", "{\"text\": \"two\\n\"}\r\n\n  \n{\"id\": 3, \"text\": \"three\"}");
  write_text(folder + "/picture.png", std::string("\x89PNG\0", 5));
  write_text(folder + "/.hidden.txt", std::string("\0", 1));
  write_text(folder + "/empty.txt", "");
  for (const std::uint64_t group : {1, 1000}) {
    const auto corpus = Corpus::open(folder);
    ASSERT_TRUE(corpus.ok()) << corpus.error().text();
    EXPECT_THAT(documents(*corpus, group), ElementsAre("one", "# Heading\n", "two\n", "three"));
  }
  const auto one = Corpus::open(folder + "/a.txt");
  ASSERT_TRUE(one.ok());
  EXPECT_THAT(documents(*one, 10), ElementsAre("one"));
}

TEST(Corpus, SaysInOneLineWhatIsWrong) {
  const std::string folder = test_folder();
  const auto fails_to_open = [](const std::string& path, const std::string& text) {
    const auto corpus = Corpus::open(path);
    ASSERT_FALSE(corpus.ok()) << path;
    EXPECT_EQ(corpus.error().text(), path + ": " + text);
  };
  fails_to_open(folder + "/none", "there is no such folder or file");
  fails_to_open(folder, "has no .txt, .md or .jsonl file in it");
  write_text(folder + "/a.bin", "x");
  fails_to_open(folder + "/a.bin", "is neither a folder nor a .txt, .md or .jsonl file");
  write_text(folder + "/a.txt", "");
  fails_to_open(folder + "/a.txt", "is empty");
  fails_to_open(folder, "has only empty .txt, .md and .jsonl files in it");

  const auto fails_to_read = [&](const std::string& name, const std::string& content,
                                 const std::string& where, const std::string& text) {
    write_text(folder + "/" + name, content);
    const auto corpus = Corpus::open(folder + "/" + name);
    ASSERT_TRUE(corpus.ok()) << corpus.error().text();
    const base::Status status =
        corpus->each_group(10, [](std::span<const Document>) { return base::Status(base::Ok{}); });
    ASSERT_FALSE(status.ok()) << content;
    EXPECT_THAT(status.error().text(), HasSubstr(folder + "/" + where + ": " + text));
  };
  fails_to_read("b.txt", std::string("ab\0c", 4), "b.txt", "is no UTF-8 text: byte 0x00 at offset 2");
  fails_to_read("l.txt", "\xEF\xBF\xBD caf\xE9", "l.txt", "is no UTF-8 text: byte 0xe9 at offset 7");
  fails_to_read("j.jsonl", "{\"text\":\"a\"}\n{\"text\":\n", "j.jsonl:2", "");
  fails_to_read("t.jsonl", "\n{\"text\":7}\n", "t.jsonl:2", "has no string \"text\"");
  fails_to_read("m.jsonl", "{\"messages\":[]}\n", "m.jsonl:1", "has no string \"text\", but \"messages\"");
  fails_to_read("s.jsonl", "[\"text\"]\n", "s.jsonl:1", "has no string \"text\"");
  fails_to_read("u.jsonl", "{\"text\":\"\xFF\"}\n", "u.jsonl:1", "is no UTF-8 text");
}

std::vector<int> ids_of(const TokenFile& file) {
  std::vector<int> ids;
  for (std::uint64_t i = 0; i < file.tokens(); ++i) ids.push_back(static_cast<int>(file.token(i)));
  return ids;
}

TEST(TokenizeCorpus, WritesDocumentsBetweenTheirMarks) {
  const std::string folder = test_folder();
  write_text(folder + "/in/a.jsonl", "{\"text\":\"ab\"}\n{\"text\":\"\"}\n{\"text\":\"<|im_end|>\"}\n");
  const auto corpus = Corpus::open(folder + "/in");
  ASSERT_TRUE(corpus.ok());
  const auto tokenizer = byte_tokenizer();
  std::uint64_t done = 0;
  TokenizeOptions options{.threads = 2, .progress = [&](std::uint64_t d, std::uint64_t) { done = d; }};
  const auto file = tokenize_corpus(*corpus, {*tokenizer, kHash, true}, folder + "/a.tokens", options);
  ASSERT_TRUE(file.ok()) << file.error().text();
  EXPECT_EQ(done, 12u);
  ASSERT_EQ(file->documents(), 2u);
  std::vector<int> expected = {0, 3 + 'a', 3 + 'b', 0, 0};
  for (const char c : std::string("<|im_end|>")) expected.push_back(3 + c);  // text, no control token
  expected.push_back(0);
  EXPECT_EQ(ids_of(*file), expected);
}

TEST(TokenizeCorpus, PartsOfALongDocumentGiveTheIdsOfTheWhole) {
  const std::string folder = test_folder();
  const std::string source = std::string(TW_SOURCE_DIR) + "/tests/data/text/tinyshakespeare.txt";
  const auto corpus = Corpus::open(source);
  ASSERT_TRUE(corpus.ok());
  const text::TokenizerSpec spec = byte_tokens();
  EXPECT_TRUE(text::cuts_are_safe(spec));
  const auto tokenizer = byte_tokenizer();
  const auto whole = tokenize_corpus(*corpus, {*tokenizer, kHash, false}, folder + "/whole.tokens", {});
  const auto parts =
      tokenize_corpus(*corpus, {*tokenizer, kHash, true}, folder + "/parts.tokens", {.threads = 3});
  ASSERT_TRUE(whole.ok() && parts.ok());
  EXPECT_EQ(parts->documents(), 1u);
  EXPECT_EQ(parts->tokens(), corpus->bytes() + 2);
  EXPECT_EQ(ids_of(*whole), ids_of(*parts));
}

TEST(TokenizeCorpus, KeepsAFileThatIsStillRight) {
  const std::string folder = test_folder(), path = folder + "/a.tokens";
  write_text(folder + "/in/a.txt", "hello");
  const auto tokenizer = byte_tokenizer();
  int runs = 0;
  const auto run = [&](const std::string& hash) {
    const auto corpus = Corpus::open(folder + "/in");
    ASSERT_TRUE(corpus.ok());
    TokenizeOptions options{.threads = 1, .progress = [&](std::uint64_t, std::uint64_t) { ++runs; }};
    ASSERT_TRUE(tokenize_corpus(*corpus, {*tokenizer, hash, true}, path, options).ok());
  };
  run(kHash);
  run(kHash);
  EXPECT_EQ(runs, 1) << "nothing changed";
  run(std::string(64, 'd'));
  EXPECT_EQ(runs, 2) << "another tokenizer";
  write_text(folder + "/in/b.txt", "more");
  run(std::string(64, 'd'));
  EXPECT_EQ(runs, 3) << "another file";
  std::string bytes = *base::read_file(path);
  bytes[kTokenHeaderBytes] ^= 1;
  write_text(path, bytes);
  run(std::string(64, 'd'));
  EXPECT_EQ(runs, 4) << "a flipped bit";
  run(std::string(64, 'd'));
  EXPECT_EQ(runs, 4);
}

TEST(CutsAreSafe, OnlyWhereTheyAre) {
  text::TokenizerSpec spec = byte_tokens();
  spec.pre = "smollm";
  EXPECT_TRUE(text::cuts_are_safe(spec));
  spec.pre = "qwen2";
  EXPECT_FALSE(text::cuts_are_safe(spec));
  spec.pre = "gpt-2";
  spec.types[3] = text::TokenType::kUserDefined;
  EXPECT_FALSE(text::cuts_are_safe(spec));
  spec.types[3] = text::TokenType::kNormal;
  spec.add_prefix_space = true;
  EXPECT_FALSE(text::cuts_are_safe(spec));
}

TEST(Corpus, LeavesAFolderOut) {
  const std::string folder = test_folder();
  write_text(folder + "/in/a.txt", "kept");
  write_text(folder + "/in/run/log.jsonl", "{\"loss\": 1}\n");
  write_text(folder + "/in/run/deep/b.md", "left out");
  write_text(folder + "/in/runs/c.md", "a neighbour");
  std::filesystem::create_directory_symlink(folder + "/in/run", folder + "/link");
  for (const std::string& without : {folder + "/in/run", folder + "/in/./run/", folder + "/link"}) {
    const auto corpus = Corpus::open(folder + "/in", without);
    ASSERT_TRUE(corpus.ok()) << corpus.error().text();
    ASSERT_EQ(corpus->files().size(), 2U) << without;
    EXPECT_EQ(corpus->files()[0].path, folder + "/in/a.txt");
    EXPECT_EQ(corpus->files()[1].path, folder + "/in/runs/c.md");
  }
  EXPECT_EQ(Corpus::open(folder + "/in", folder + "/nowhere")->files().size(), 4U);
}

}  // namespace
}  // namespace tw::train
