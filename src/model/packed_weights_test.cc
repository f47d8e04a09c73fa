// A model gives the same bits with a file of packed weights as without one, whatever has happened to the
// file.
#include "model/packed_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "model/test_families.h"
#include "model/test_harness.h"

namespace tw::model {
namespace {

namespace fs = std::filesystem;
using Logits = std::vector<std::vector<float>>;

Logits logits_of(Harness& harness) {
  const std::vector<std::int32_t> prompt = {1, 5, 9, 2, 7};
  harness.add(0, prompt, 0, true);
  Logits rows = harness.run();
  harness.add(0, std::vector<std::int32_t>{3}, 5, true, true);
  for (auto& row : harness.run()) rows.push_back(std::move(row));
  return rows;
}

/// The kernels' set, and whether the file is copied.
class PackedWeightsFile : public testing::TestWithParam<std::tuple<std::string, bool>> {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    ASSERT_EQ(::setenv("XDG_CACHE_HOME", (folder_ + "/cache").c_str(), 1), 0);
    fs::copy_file(kFamilies + "mistral-Q8_0.gguf", model_);
    rows_ = set_ == "avx2" ? 8 : 16;
    places_ = io::packed_places(model_, rows_);
    expected_ = run({});
  }
  void TearDown() override {
    fs::remove_all(folder_);
    ::unsetenv("XDG_CACHE_HOME");
  }

  Logits run(const PackedOptions& options) {
    Harness harness(model_, set_, 2, 1, options);
    return logits_of(harness);
  }
  /// True when the file is mapped into this process.
  static bool is_mapped(const std::string& path) {
    std::ifstream maps("/proc/self/maps");
    const std::string all((std::istreambuf_iterator<char>(maps)), {});
    return all.find(fs::canonical(path).string() + "\n") != std::string::npos;
  }
  static bool is_whole(const std::string& path) {
    const auto file = io::PackedFile::open(path);
    return file.ok() && !file->tensors().empty() &&
           std::ranges::all_of(file->tensors(), io::PackedFile::is_intact);
  }
  void change_byte(std::size_t at) const {
    std::fstream file(places_[0], std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const auto value = static_cast<char>(file.get() ^ 16);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(value);
  }

  const std::string set_ = std::get<0>(GetParam());
  const PackedOptions used_ = {.use = true,
                               .copy = std::get<1>(GetParam()),
                               .min_bytes = 1,
                               .write_after = std::chrono::milliseconds(0)};
  const std::string folder_ = testing::TempDir() + "tw_packed_weights_" + set_ + std::to_string(getpid()),
                    model_ = folder_ + "/m.gguf";
  std::uint32_t rows_ = 0;
  std::vector<std::string> places_;
  Logits expected_;
};

TEST_P(PackedWeightsFile, IsMadeOnceAndGivesTheSameBits) {
  ASSERT_FALSE(fs::exists(places_[0])) << "made only when asked for";
  EXPECT_EQ(run(used_), expected_);
  ASSERT_TRUE(is_whole(places_[0]));
  EXPECT_EQ(fs::status(places_[0]).permissions(), fs::status(model_).permissions());
  const auto made = fs::last_write_time(places_[0]);
  {
    Harness second(model_, set_, 2, 1, used_);
    EXPECT_TRUE(is_mapped(places_[0]));
    EXPECT_EQ(logits_of(second), expected_);
  }
  EXPECT_EQ(fs::last_write_time(places_[0]), made);
  EXPECT_FALSE(fs::exists(folder_ + "/cache"));
}

TEST_P(PackedWeightsFile, IsNotMadeForSmallModels) {
  EXPECT_EQ(run({.use = true, .write_after = std::chrono::milliseconds(0)}), expected_);
  EXPECT_FALSE(fs::exists(places_[0]));
}

TEST_P(PackedWeightsFile, OfAnotherVersionIsMadeAnew) {
  run(used_);
  const std::string before = base::read_file(places_[0]).value();
  fs::last_write_time(model_, fs::last_write_time(model_) - std::chrono::seconds(7));
  EXPECT_EQ(run(used_), expected_);
  const std::string after = base::read_file(places_[0]).value();
  EXPECT_NE(after, before) << "another time is written in it";
  fs::copy_file(kFamilies + "qwen3-Q8_0.gguf", model_, fs::copy_options::overwrite_existing);
  const Logits other = run({});
  EXPECT_EQ(run(used_), other);
  EXPECT_NE(base::read_file(places_[0]).value().size(), after.size());
  EXPECT_EQ(run(used_), other);
}

TEST_P(PackedWeightsFile, IsMendedWhileLoading) {
  run(used_);
  const std::string bytes = base::read_file(places_[0]).value();
  for (std::size_t at = 4096; at < bytes.size(); at += 4999) change_byte(at);
  PackedOptions patient = used_;
  patient.check_time = std::chrono::hours(1);
  EXPECT_EQ(run(patient), expected_);
  EXPECT_EQ(base::read_file(places_[0]).value(), bytes);
}

TEST_P(PackedWeightsFile, IsMendedWhileRunning) {
  run(used_);
  const std::string bytes = base::read_file(places_[0]).value();
  change_byte(bytes.size() - 100);
  PackedOptions later = used_;
  later.check_time = std::chrono::milliseconds(0);
  Harness harness(model_, set_, 2, 1, later);
  for (int i = 0; i < 3000 && base::read_file(places_[0]).value() != bytes; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(base::read_file(places_[0]).value(), bytes);
  EXPECT_EQ(logits_of(harness), expected_);
}

TEST_P(PackedWeightsFile, ThatIsBrokenIsMadeAnew) {
  run(used_);
  const std::string bytes = base::read_file(places_[0]).value();
  std::string flipped = bytes;
  flipped[70] = static_cast<char>(flipped[70] ^ 1);
  for (const std::string& broken : {std::string(), std::string("TWPACKED"), bytes.substr(0, bytes.size() - 1),
                                    bytes.substr(0, 100), bytes + "x", flipped}) {
    std::ofstream(places_[0], std::ios::binary | std::ios::trunc) << broken;
    EXPECT_EQ(run(used_), expected_);
    EXPECT_EQ(base::read_file(places_[0]).value(), bytes);
  }
}

TEST_P(PackedWeightsFile, GoesToTheCacheWhereTheFolderCannotBeWritten) {
  fs::create_directory(places_[0] + ".partial");  // permissions would not stop root
  EXPECT_EQ(run(used_), expected_);
  EXPECT_FALSE(fs::exists(places_[0]));
  EXPECT_TRUE(is_whole(places_[1]));
  Harness second(model_, set_, 2, 1, used_);
  EXPECT_TRUE(is_mapped(places_[1]));
  EXPECT_EQ(logits_of(second), expected_);
}

TEST_P(PackedWeightsFile, IsGivenUpWhereNothingCanBeWritten) {
  fs::create_directory(places_[0] + ".partial");
  std::ofstream(folder_ + "/cache") << "no folder";
  EXPECT_EQ(run(used_), expected_);
  EXPECT_FALSE(fs::exists(places_[0]));
}

TEST_P(PackedWeightsFile, IsMadeByOneOfSeveralAtOnce) {
  std::vector<std::thread> starts;
  std::vector<Logits> logits(4);
  starts.reserve(logits.size());
  for (Logits& one : logits) starts.emplace_back([&] { one = run(used_); });
  for (std::thread& start : starts) start.join();
  for (const Logits& one : logits) EXPECT_EQ(one, expected_);
  EXPECT_TRUE(is_whole(places_[0]));
  EXPECT_FALSE(fs::exists(places_[0] + ".partial"));
}

std::vector<std::string> packing_sets() {
  std::vector<std::string> sets = kernels::available_sets(kernels::detect_features());
  std::erase(sets, "ref");
  return sets;
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PackedWeightsFile);
INSTANTIATE_TEST_SUITE_P(Model, PackedWeightsFile,
                         testing::Combine(testing::ValuesIn(packing_sets()), testing::Bool()),
                         [](const auto& info) {
                           return std::get<0>(info.param) + (std::get<1>(info.param) ? "_copied" : "_mapped");
                         });

TEST(PackedWeightsByReference, KernelsThatDoNotPackMakeNoFile) {
  const std::string folder = testing::TempDir() + "tw_packed_ref_" + std::to_string(getpid());
  fs::remove_all(folder);
  fs::create_directories(folder);
  fs::copy_file(kFamilies + "mistral-Q8_0.gguf", folder + "/m.gguf");
  {
    Harness harness(folder + "/m.gguf", "ref", 1, 1, {.use = true, .min_bytes = 1});
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace tw::model
