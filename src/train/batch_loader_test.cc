#include "train/batch_loader.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "train/permutation.h"
#include "train/test_files.h"

namespace tw::train {
namespace {

using testing::HasSubstr;

/// Documents of these lengths whose tokens are 0, 1, 2 ... over the whole file, so that a batch tells where
/// it came from.
std::shared_ptr<const TokenFile> counting_file(const std::string& path, const std::vector<int>& lengths,
                                               bool mask = false) {
  auto writer = TokenFileWriter::create(path, 100000, std::string(64, 'a'), mask);
  EXPECT_TRUE(writer.ok()) << writer.error().text();
  std::int32_t next = 0;
  for (const int length : lengths) {
    for (int i = 0; i < length; ++i, ++next) {
      const std::uint8_t learnt = next % 3 == 0;
      EXPECT_TRUE(writer->add({&next, 1}, {&learnt, mask ? 1u : 0u}).ok());
    }
    writer->end_document();
  }
  EXPECT_TRUE(writer->finish().ok());
  auto file = TokenFile::open(path);
  EXPECT_TRUE(file.ok());
  return std::make_shared<const TokenFile>(*std::move(file));
}

BatchLoader loader(std::vector<MixtureSource> sources, const BatchLoaderOptions& options) {
  auto made = BatchLoader::create(std::move(sources), options);
  EXPECT_TRUE(made.ok()) << made.error().text();
  return *std::move(made);
}

void expect_documents(const TrainBatch& batch, const TokenFile& file, std::int64_t sequence) {
  const base::Status valid = batch.validate(static_cast<std::int64_t>(file.vocabulary()));
  ASSERT_TRUE(valid.ok()) << valid.error().text();
  std::set<std::uint32_t> ends;
  for (std::uint64_t d = 1; d <= file.documents(); ++d)
    ends.insert(static_cast<std::uint32_t>(file.offset(d)));
  for (std::int64_t d = 0; d < batch.documents(); ++d) {
    const auto begin = static_cast<std::size_t>(batch.offsets[d]);
    const auto end = static_cast<std::size_t>(batch.offsets[d + 1]);
    EXPECT_LE(static_cast<std::int64_t>(end - begin), sequence);
    for (std::size_t i = begin; i < end; ++i) {
      EXPECT_EQ(batch.targets[i], batch.tokens[i] + 1) << "the target is the next token";
      EXPECT_FALSE(ends.contains(static_cast<std::uint32_t>(batch.targets[i]))) << "of the same document";
      EXPECT_TRUE(i == begin || batch.tokens[i] == batch.tokens[i - 1] + 1);
    }
  }
}

TEST(Permutation, IsOneAndDependsOnTheKey) {
  for (const std::uint64_t n : {1u, 2u, 3u, 4u, 5u, 63u, 64u, 1000u, 4097u}) {
    std::set<std::uint64_t> seen;
    int same = 0;
    const Permutation one(n, 7), other(n, 8);
    for (std::uint64_t i = 0; i < n; ++i) {
      EXPECT_LT(one(i), n);
      seen.insert(one(i));
      same += one(i) == other(i) ? 1 : 0;
    }
    EXPECT_EQ(seen.size(), n);
    EXPECT_TRUE(n < 63 || same < 12) << same;
  }
}

TEST(BatchLoader, AnEpochHasEveryTokenOfShortDocumentsOnce) {
  std::vector<int> lengths;
  for (int i = 0; i < 300; ++i) lengths.push_back(1 + i % 23);  // 1: no target
  const auto file = counting_file(test_folder() + "/a.tokens", lengths);
  std::int64_t targets = 0;
  for (const int length : lengths) targets += length - 1;
  BatchLoader one = loader({{file, 1}}, {.batch_tokens = 64, .sequence = 8, .seed = 3});
  TrainBatch batch;
  std::map<int, int> seen;
  std::vector<std::int32_t> order;
  for (std::int64_t at = 0; at < targets; at += 64) {
    ASSERT_TRUE(one.next(batch).ok());
    EXPECT_EQ(batch.rows(), 64);
    expect_documents(batch, *file, 8);
    for (std::int64_t i = 0; i < 64 && at + i < targets; ++i) {
      ++seen[batch.targets[i]];
      order.push_back(batch.targets[i]);
    }
  }
  EXPECT_EQ(static_cast<std::int64_t>(seen.size()), targets);
  for (const auto& [target, times] : seen) EXPECT_EQ(times, 1) << target;
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end())) << "shuffled";
}

TEST(BatchLoader, LongDocumentsGiveWholeWindowsCutAnewEachEpoch) {
  const auto file = counting_file(test_folder() + "/a.tokens", {10000});
  BatchLoader one = loader({{file, 1}}, {.batch_tokens = 320, .sequence = 32, .seed = 1, .validation = 0.1});
  TrainBatch batch;
  std::set<int> phases;
  std::set<std::int32_t> seen;
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(one.next(batch).ok());
    ASSERT_EQ(batch.documents(), 10);
    expect_documents(batch, *file, 32);
    for (int d = 0; d < 10; ++d) {
      EXPECT_EQ(batch.offsets[d + 1] - batch.offsets[d], 32);
      phases.insert(batch.tokens[batch.offsets[d]] % 32);
    }
    for (const std::int32_t target : batch.targets) {
      EXPECT_LT(target, 9000) << "no training on the last tenth";
      seen.insert(target);
    }
  }
  EXPECT_GT(phases.size(), 5u);
  EXPECT_GT(seen.size(), 8950u) << "but for a few at the ends, every token";
}

TEST(BatchLoader, ValidationIsTheEndInWindowsThatDoNotOverlap) {
  const auto file = counting_file(test_folder() + "/a.tokens", {700, 2, 250, 48});
  BatchLoader one = loader({{file, 1}}, {.batch_tokens = 100, .sequence = 30, .validation = 0.1});
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<std::int32_t> targets;
    TrainBatch batch;
    while (true) {
      ASSERT_TRUE(one.next_validation(batch).ok());
      if (batch.rows() == 0) break;
      EXPECT_LE(batch.rows(), 100);
      expect_documents(batch, *file, 30);
      targets.insert(targets.end(), batch.targets.begin(), batch.targets.end());
    }
    std::vector<std::int32_t> expected;
    for (int t = 901; t < 1000; ++t) {
      if (t != 952) expected.push_back(t);
    }
    EXPECT_EQ(targets, expected);
  }
}

TEST(BatchLoader, MixesByWeightAfterEveryBatch) {
  const std::string folder = test_folder();
  const auto a = counting_file(folder + "/a.tokens", std::vector<int>(50, 9));
  const auto b = counting_file(folder + "/b.tokens", std::vector<int>(7, 33));
  BatchLoader one = loader({{a, 3}, {b, 1}}, {.batch_tokens = 128, .sequence = 32});
  TrainBatch batch;
  for (int i = 1; i <= 50; ++i) {
    ASSERT_TRUE(one.next(batch).ok());
    const base::Json position = one.position();
    const double share = position["sources"][1]["tokens"].get<double>() / (128.0 * i);
    EXPECT_NEAR(share, 0.25, 32.0 / (128 * i));
  }
  EXPECT_GT(one.position()["sources"][0]["epoch"].get<int>(), 5);
}

TEST(BatchLoader, GoesOnFromAPositionWithTheSameBatches) {
  const std::string folder = test_folder();
  std::vector<int> lengths;
  for (int i = 0; i < 40; ++i) lengths.push_back(2 + i * 7 % 90);
  const auto a = counting_file(folder + "/a.tokens", lengths);
  const auto b = counting_file(folder + "/b.tokens", {3000});
  const BatchLoaderOptions options{.batch_tokens = 100, .sequence = 40, .seed = 5, .validation = 0.05};
  BatchLoader straight = loader({{a, 1}, {b, 2}}, options);
  TrainBatch expected, got;
  for (int i = 0; i < 120; ++i) {
    BatchLoader resumed = loader({{a, 1}, {b, 2}}, options);
    const auto position = base::parse_json(base::dump_json(straight.position()));
    ASSERT_TRUE(position.ok());
    const base::Status sought = resumed.seek(*position);
    ASSERT_TRUE(sought.ok()) << sought.error().text();
    ASSERT_TRUE(straight.next(expected).ok());
    ASSERT_TRUE(resumed.next(got).ok());
    EXPECT_EQ(got.tokens, expected.tokens);
    EXPECT_EQ(got.offsets, expected.offsets);
  }
}

TEST(BatchLoader, ConversationsAreNotCut) {
  const auto file = counting_file(test_folder() + "/a.tokens", std::vector<int>(30, 41), true);
  BatchLoader one = loader({{file, 1}}, {.batch_tokens = 100, .sequence = 64});
  TrainBatch batch;
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(one.next(batch).ok());
    EXPECT_EQ(batch.rows(), 80);
    for (std::size_t t = 0; t < batch.tokens.size(); ++t)
      EXPECT_EQ(batch.weights[t], batch.targets[t] % 3 == 0 ? 1 : 0);
  }
}

TEST(BatchLoader, SaysWhatIsWrong) {
  const std::string folder = test_folder();
  const auto file = counting_file(folder + "/a.tokens", {50, 60});
  const auto fails = [&](std::vector<MixtureSource> sources, const BatchLoaderOptions& options,
                         const char* text) {
    const auto made = BatchLoader::create(std::move(sources), options);
    ASSERT_FALSE(made.ok()) << text;
    EXPECT_THAT(made.error().text(), HasSubstr(text));
  };
  const BatchLoaderOptions good{.batch_tokens = 64, .sequence = 16};
  fails({}, good, "no data");
  fails({{file, 0}}, good, "a.tokens: has a weight that is not above 0");
  fails({{file, 1}}, {.batch_tokens = 8, .sequence = 16}, "no more than a batch");
  fails({{file, 1}}, {.batch_tokens = 64, .sequence = 16, .validation = 1}, "validation");
  fails({{counting_file(folder + "/s.tokens", {1, 1, 1}), 1}}, good, "too little text to train on");
  fails({{file, 1}}, {.batch_tokens = 64, .sequence = 16, .validation = 0.001},
        "a.tokens: has too little text to keep");
  fails({{file, 1, "notes"}}, {.batch_tokens = 64, .sequence = 16, .validation = 0.001},
        "notes: has too little text to keep some of it for validation: give more");

  BatchLoader one = loader({{file, 1}}, good);
  BatchLoader other = loader({{file, 1}}, {.batch_tokens = 64, .sequence = 32});
  const base::Status moved = other.seek(one.position());
  ASSERT_FALSE(moved.ok());
  EXPECT_THAT(moved.error().text(), HasSubstr("\"sequence\" was 16 and is 32"));
  base::Json position = one.position();
  position["sources"][0]["window"] = 1000u;
  EXPECT_THAT(one.seek(position).error().text(), HasSubstr("no such position"));
  position["sources"][0]["window"] = "x";
  EXPECT_THAT(one.seek(position).error().text(), HasSubstr("no number \"window\""));
  EXPECT_FALSE(one.seek(base::Json("x")).ok());
  TrainBatch batch;
  EXPECT_TRUE(one.next(batch).ok()) << "a position that is refused changes nothing";
}

TEST(BatchLoader, NamesATokenOutsideOfTheVocabulary) {
  const std::string path = test_folder() + "/a.tokens";
  counting_file(path, {50});
  std::string bytes = *base::read_file(path);
  bytes[kTokenHeaderBytes + 4 * 20 + 3] = '\x7f';
  write_text(path, bytes);
  auto file = TokenFile::open(path);
  ASSERT_TRUE(file.ok());
  BatchLoader one = loader({{std::make_shared<const TokenFile>(*std::move(file)), 1}},
                           {.batch_tokens = 64, .sequence = 64});
  TrainBatch batch;
  const base::Status status = one.next(batch);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().text(), HasSubstr("token 20 is 2130706452, but the vocabulary has 100000"));
}

/// Ten pairs of documents of these lengths, of which every third token is learnt; the second pair's first
/// document has but one token.
TEST(BatchLoader, PairsComeTogetherCutToTheSequence) {
  std::vector<int> lengths;
  for (int i = 0; i < 10; ++i) {
    lengths.push_back(i == 1 ? 1 : 12 + i);
    lengths.push_back(30 - i);
  }
  const auto file = counting_file(test_folder() + "/p.tokens", lengths, true);
  const BatchLoaderOptions options{
      .batch_tokens = 70, .sequence = 16, .seed = 4, .validation = 0.25, .pairs = true};
  BatchLoader train = loader({{file, 1}}, options), same = loader({{file, 1}}, options);
  std::map<std::int32_t, int> seen;
  std::set<std::int32_t> held_out;
  TrainBatch batch;
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(train.next(batch).ok());
    ASSERT_EQ(batch.documents() % 2, 0);
    ASSERT_GT(batch.documents(), 0);
    expect_documents(batch, *file, options.sequence);
    for (std::int64_t d = 0; d < batch.documents(); d += 2) {
      const auto first = static_cast<std::uint32_t>(batch.tokens[batch.offsets[d]]);
      std::uint64_t pair = 0;
      while (file->offset(pair) < first) ++pair;
      ASSERT_EQ(file->offset(pair), first) << "a document begins where the file's does";
      EXPECT_EQ(pair % 2, 0U);
      EXPECT_EQ(static_cast<std::uint64_t>(batch.tokens[batch.offsets[d + 1]]), file->offset(pair + 1));
      EXPECT_EQ(batch.offsets[d + 2] - batch.offsets[d + 1], 16) << "of 21 tokens and more";
      ++seen[static_cast<std::int32_t>(pair)];
    }
    if (i == 4) {
      ASSERT_TRUE(same.seek(train.position()).ok());
    }
  }
  TrainBatch again;
  for (int i = 5; i < 12; ++i) ASSERT_TRUE(same.next(again).ok());
  EXPECT_EQ(again.tokens, batch.tokens);
  EXPECT_FALSE(seen.contains(2)) << "one token has no other to follow";
  while (train.next_validation(batch).ok() && batch.rows() > 0) {
    ASSERT_EQ(batch.documents() % 2, 0);
    for (std::int64_t d = 0; d < batch.documents(); d += 2) held_out.insert(batch.tokens[batch.offsets[d]]);
  }
  EXPECT_EQ(held_out.size() + seen.size(), 9U);
  for (const auto& [pair, times] : seen)
    EXPECT_LT(file->offset(static_cast<std::uint64_t>(pair)), static_cast<std::uint64_t>(*held_out.begin()));
  const BatchLoaderOptions narrow{.batch_tokens = 31, .sequence = 16, .pairs = true};
  EXPECT_THAT(BatchLoader::create({{file, 1}}, narrow).error().text(), HasSubstr("room for a pair"));
  const BatchLoaderOptions brief{.batch_tokens = 4, .sequence = 1, .pairs = true};
  const auto prompts = counting_file(test_folder() + "/q.tokens", {8, 8, 8, 8}, true);
  EXPECT_THAT(BatchLoader::create({{prompts, 1}}, brief).error().text(),
              HasSubstr("make \"sequence\" longer"));
  const auto odd = counting_file(test_folder() + "/o.tokens", {8, 8, 8}, true);
  EXPECT_THAT(BatchLoader::create({{odd, 1}}, options).error().text(), HasSubstr("holds no pairs"));
}

}  // namespace
}  // namespace tw::train
