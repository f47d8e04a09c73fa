// Broken and hostile adapter folders: one clear line that names the file and what is wrong with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "io/safetensors_write.h"
#include "model/adapter.h"
#include "model/loaded_model.h"
#include "model/test_families.h"

namespace tw::model {
namespace {

namespace fs = std::filesystem;
using base::Json;
using testing::HasSubstr;

class HostileAdapter : public testing::Test {
 protected:
  const std::string folder_ = testing::TempDir() + "adapter_" + std::to_string(getpid());
  const std::string config_ = folder_ + "/adapter_config.json",
                    weights_ = folder_ + "/adapter_model.safetensors";
  const std::shared_ptr<const LoadedModel> base_ =
      LoadedModel::load(kFamilies + "llama3", {.isa = "ref", .threads = 1, .progress = {}}).value();
  const std::string q_ = "base_model.model.model.layers.0.self_attn.q_proj.lora_";

  void SetUp() override { restore(); }
  void TearDown() override { fs::remove_all(folder_); }
  void restore() {
    fs::remove_all(folder_);
    fs::copy(TW_SOURCE_DIR "/tests/golden/lora/llama3", folder_);
  }
  /// The error of loading the folder; empty if it loads.
  std::string failure() {
    const auto adapter = Adapter::load(folder_, *base_);
    if (adapter.ok()) return {};
    const std::string text = adapter.error().text();
    EXPECT_THAT(text, HasSubstr(folder_));
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_LT(text.size(), 500U);
    return text;
  }
  std::string with(const std::string& key, const Json& value) {
    restore();
    Json json = *base::parse_json(*base::read_file(config_));
    json[key] = value;
    std::ofstream(config_) << json.dump();
    return failure();
  }
  /// With the tensors changed by `change`.
  template <typename Change>
  std::string with_tensors(const Change& change) {
    restore();
    const auto file = io::SafetensorsFile::open(weights_).value();
    std::vector<io::TensorEntry> tensors = file.tensors();
    change(tensors);
    TW_CHECK(io::write_safetensors(weights_ + ".new", {}, tensors).ok(), "the file is written");
    fs::rename(weights_ + ".new", weights_);
    return failure();
  }
  static io::TensorEntry& named(std::vector<io::TensorEntry>& all, const std::string& name) {
    for (io::TensorEntry& entry : all) {
      if (entry.name == name) return entry;
    }
    TW_CHECK(false, "the tensor is there");
    return all[0];
  }
};

TEST_F(HostileAdapter, TheWholeOneLoads) {
  EXPECT_EQ(failure(), "");
}

TEST_F(HostileAdapter, FilesThatAreMissing) {
  fs::remove(config_);
  EXPECT_THAT(failure(), HasSubstr("is no adapter, for it has no adapter_config.json"));
  restore();
  fs::remove(weights_);
  EXPECT_THAT(failure(), HasSubstr("adapter_model.safetensors"));
  std::ofstream(folder_ + "/adapter_model.bin") << "pickle";
  EXPECT_THAT(failure(), HasSubstr("pickle"));
}

TEST_F(HostileAdapter, ConfigurationsThatAreWrong) {
  std::ofstream(config_) << "{\"r\": ";
  EXPECT_THAT(failure(), HasSubstr("adapter_config.json"));
  std::ofstream(config_) << "[]";
  EXPECT_THAT(failure(), HasSubstr("no JSON object"));
  EXPECT_THAT(with("r", 0), HasSubstr("\"r\""));
  EXPECT_THAT(with("r", 257), HasSubstr("256"));
  EXPECT_THAT(with("r", "four"), HasSubstr("\"r\""));
  EXPECT_THAT(with("lora_alpha", nullptr), HasSubstr("lora_alpha"));
  EXPECT_THAT(with("lora_alpha", 1e300), HasSubstr("lora_alpha"));
  EXPECT_THAT(with("target_modules", Json::array({1})), HasSubstr("target_modules"));
  EXPECT_THAT(with("rank_pattern", Json::array()), HasSubstr("rank_pattern"));
  EXPECT_THAT(with("rank_pattern", {{"q_proj", 2.5}}), HasSubstr("rank_pattern"));
  EXPECT_THAT(with("alpha_pattern", {{"(a|b)*", 2}}), HasSubstr("(a|b)*"));
}

TEST_F(HostileAdapter, KindsThatAreNotPlain) {
  EXPECT_THAT(with("peft_type", "LOHA"), HasSubstr("LOHA"));
  EXPECT_THAT(with("use_dora", true), HasSubstr("use_dora"));
  EXPECT_THAT(with("bias", "all"), HasSubstr("bias"));
  EXPECT_THAT(with("modules_to_save", Json::array({"lm_head"})), HasSubstr("modules_to_save"));
  EXPECT_THAT(with("init_lora_weights", "pissa"), HasSubstr("pissa"));
  EXPECT_THAT(with("velora_config", {{"a", 1}}), HasSubstr("velora_config"));
  EXPECT_EQ(with("modules_to_save", Json::array()), "");
  EXPECT_EQ(with("init_lora_weights", "gaussian"), "");
  EXPECT_EQ(with("some_new_key", 7), "");
}

TEST_F(HostileAdapter, TensorsThatDoNotFit) {
  EXPECT_THAT(with("r", 5), HasSubstr("should be [5,"));
  EXPECT_THAT(with_tensors([&](auto& all) {
                std::swap(named(all, q_ + "A.weight").shape[0], named(all, q_ + "A.weight").shape[1]);
              }),
              HasSubstr("q_proj.lora_A.weight"));
  EXPECT_THAT(with_tensors([&](auto& all) {
                std::erase_if(all, [&](const auto& entry) { return entry.name == q_ + "B.weight"; });
              }),
              HasSubstr("q_proj.lora_B.weight"));
  EXPECT_THAT(with_tensors([&](auto& all) { all.clear(); }), HasSubstr("no tensors"));
  std::vector<std::int32_t> integers(4096);
  EXPECT_THAT(with_tensors([&](auto& all) {
                io::TensorEntry& a = named(all, q_ + "A.weight");
                a.dtype = base::DType::kI32;
                a.data = reinterpret_cast<const std::byte*>(integers.data());
              }),
              HasSubstr("I32"));
}

TEST_F(HostileAdapter, ModulesThatTheBaseModelLacks) {
  for (const char* name : {"base_model.model.lm_head.lora_A.weight",
                           "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight",
                           "base_model.model.model.embed_tokens.lora_embedding_A", "x"}) {
    EXPECT_THAT(with_tensors([&](auto& all) { named(all, q_ + "A.weight").name = name; }),
                HasSubstr("lora_A"))
        << name;
    EXPECT_THAT(with_tensors([&](auto& all) {
                  io::TensorEntry more = named(all, q_ + "A.weight");
                  more.name = name;
                  all.push_back(more);
                }),
                HasSubstr(name));
  }
}

TEST_F(HostileAdapter, NumbersThatAreNotFinite) {
  std::vector<float> bad(4096, INFINITY);
  EXPECT_THAT(with_tensors([&](auto& all) {
                named(all, q_ + "A.weight").data = reinterpret_cast<const std::byte*>(bad.data());
              }),
              HasSubstr("not finite"));
}

TEST_F(HostileAdapter, BytesThatAreCutOrTurned) {
  const std::string whole = *base::read_file(weights_);
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{900}, whole.size() - 1}) {
    std::ofstream(weights_, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    EXPECT_THAT(failure(), HasSubstr("adapter_model.safetensors")) << size;
  }
  for (std::size_t at = 0; at < 2000; at += 13) {  // it loads or says why
    std::string turned = whole;
    turned[at] = static_cast<char>(turned[at] ^ 0x41);
    std::ofstream(weights_, std::ios::binary | std::ios::trunc) << turned;
    const auto adapter = Adapter::load(folder_, *base_);
    EXPECT_TRUE(adapter.ok() || !adapter.error().text().empty());
  }
}

}  // namespace
}  // namespace tw::model
