// Broken and hostile Hugging Face folders: one clear line that names the file, no crash and no huge
// allocation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "model/loaded_model.h"
#include "model/test_families.h"

namespace tw::model {
namespace {

namespace fs = std::filesystem;
using base::Json;
using testing::HasSubstr;
using testing::StartsWith;

/// Kilobytes at most in memory so far.
long peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

class HostileFolder : public testing::Test {
 protected:
  void SetUp() override { restore("llama3"); }
  void TearDown() override {
    fs::remove_all(folder_);
    // Sizes of the tests would take terabytes; sanitizers keep some of what was freed.
    EXPECT_LT(peak_memory() - peak_before_, 400 * 1024);
  }

  void restore(const std::string& family) {
    fs::remove_all(folder_);
    fs::copy(kFamilies + family, folder_, fs::copy_options::recursive);
  }
  void write(const std::string& file, const std::string& text) {
    std::ofstream(folder_ + "/" + file, std::ios::binary | std::ios::trunc) << text;
  }
  Json read(const std::string& file) { return *base::parse_json(*base::read_file(folder_ + "/" + file)); }

  /// The error of loading the folder; empty if it loads.
  std::string failure() {
    const auto model = LoadedModel::load(folder_, {.isa = "ref", .threads = 1, .progress = {}});
    if (model.ok()) return {};
    const std::string text = model.error().text();
    EXPECT_THAT(text, StartsWith(folder_));
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_LT(text.size(), 400U);
    return text;
  }
  /// With one key of a JSON file changed; null takes it away. The file is as it was afterwards.
  std::string with(const std::string& file, const std::string& key, const Json& value) {
    const std::string before = *base::read_file(folder_ + "/" + file);
    Json json = *base::parse_json(before);
    if (value.is_null())
      json.erase(key);
    else
      json[key] = value;
    write(file, json.dump());
    const std::string text = failure();
    write(file, before);
    return text;
  }
  std::string config(const std::string& key, const Json& value) { return with("config.json", key, value); }

  const std::string folder_ = testing::TempDir() + "hostile_folder_" + std::to_string(getpid());
  const long peak_before_ = peak_memory();
};

TEST_F(HostileFolder, IsFineAsItIs) {
  EXPECT_EQ(failure(), "");
}

TEST_F(HostileFolder, Gpt2sFusedLayersAreChecked) {
  restore("gpt2");
  EXPECT_EQ(failure(), "");
  EXPECT_THAT(config("n_embd", 66), HasSubstr("\"n_embd\" (66) is not divided by \"n_head\" (4)"));
  EXPECT_THAT(config("n_head", 0), HasSubstr("n_head"));
  EXPECT_THAT(config("n_embd", Json(std::int64_t{1} << 40)), HasSubstr("n_embd"));
  EXPECT_THAT(config("n_embd", 128), HasSubstr("[281, 64], but the configuration says [281, 128]"));
  EXPECT_THAT(config("n_inner", 100),
              HasSubstr("h.0.mlp.c_fc.weight is [64, 96], but the configuration says [64, 100]"))
      << "as the file has it, inputs first";
  EXPECT_THAT(config("activation_function", "relu"), HasSubstr("only \"gelu_new\" is supported"));
  EXPECT_THAT(config("scale_attn_by_inverse_layer_idx", true), HasSubstr("scale_attn_by_inverse_layer_idx"));
  const std::string file = folder_ + "/model.safetensors", bytes = *base::read_file(file);
  const auto reshaped = [&](std::string from, const std::string& to) {
    std::string changed = bytes;
    const std::size_t at = changed.find(from, changed.find("h.0.attn.c_attn.weight"));
    TW_CHECK(at != std::string::npos && from.size() == to.size(), "the header says so");
    changed.replace(at, from.size(), to);
    write("model.safetensors", changed);
    return failure();
  };
  EXPECT_THAT(reshaped("[64,192]", "[32,384]"),
              HasSubstr("h.0.attn.c_attn.weight is [32, 384], but the configuration says [64, 192]"));
  EXPECT_THAT(reshaped("[64,192]", "[192,64]"), HasSubstr("c_attn.weight"));
  EXPECT_THAT(reshaped("[64,192]", "[12288 ]"), HasSubstr("outputs divide by 3"));
}

TEST_F(HostileFolder, ExpertsAreChecked) {
  restore("mixtral");
  EXPECT_EQ(failure(), "");
  EXPECT_THAT(config("num_local_experts", Json()), HasSubstr("\"num_local_experts\" is missing"));
  EXPECT_THAT(config("num_experts_per_tok", Json()), HasSubstr("\"num_experts_per_tok\" is missing"));
  EXPECT_THAT(config("num_experts_per_tok", 6), HasSubstr("5 experts of 64 with 6 chosen cannot be"));
  EXPECT_THAT(config("num_local_experts", 6), HasSubstr("block_sparse_moe.gate.weight is [5, 64]"));
  EXPECT_THAT(config("num_local_experts", 30000), HasSubstr("block_sparse_moe.gate.weight"));
  EXPECT_THAT(config("num_hidden_layers", 4000), HasSubstr("model.layers.2."));
  restore("qwen3-moe");
  EXPECT_EQ(failure(), "");
  EXPECT_THAT(config("moe_intermediate_size", Json()), HasSubstr("\"moe_intermediate_size\" is missing"));
  EXPECT_THAT(config("decoder_sparse_step", 2), HasSubstr("\"decoder_sparse_step\" is '2'"));
  EXPECT_THAT(config("mlp_only_layers", Json::parse("[0]")), HasSubstr("\"mlp_only_layers\" is '[0]'"));
  EXPECT_THAT(config("use_sliding_window", true), HasSubstr("\"use_sliding_window\" is"));
  restore("qwen2-moe");
  EXPECT_EQ(failure(), "");
  EXPECT_THAT(config("qkv_bias", false), HasSubstr("\"qkv_bias\" is 'false', but only true is supported"));
  EXPECT_THAT(config("shared_expert_intermediate_size", Json()),
              HasSubstr("\"shared_expert_intermediate_size\" is missing"));
  EXPECT_THAT(config("shared_expert_intermediate_size", -8), HasSubstr("cannot be"));
  EXPECT_THAT(config("shared_expert_intermediate_size", 88),
              HasSubstr("mlp.shared_expert.gate_proj.weight is [80, 64]"));
  EXPECT_THAT(config("mlp_only_layers", Json::parse("[1]")), HasSubstr("\"mlp_only_layers\" is '[1]'"));
}

TEST_F(HostileFolder, MissingKeysAreNamed) {
  for (const char* key : {"model_type", "num_hidden_layers", "hidden_size", "intermediate_size",
                          "num_attention_heads", "vocab_size", "max_position_embeddings"}) {
    EXPECT_THAT(config(key, Json()), HasSubstr(fmt::format("/config.json: \"{}\" is missing", key)));
  }
}

TEST_F(HostileFolder, WrongTypesAreNamed) {
  for (const char* key : {"num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads",
                          "head_dim", "vocab_size", "max_position_embeddings"}) {
    for (const Json& value :
         {Json("64"), Json(64.5), Json::array({64}), Json(true), Json(1e12), Json(18446744073709551615U)}) {
      EXPECT_THAT(config(key, value),
                  HasSubstr(fmt::format("\"{}\" is '{}', but should be a whole number", key, value.dump())));
    }
  }
  EXPECT_THAT(config("model_type", 7), HasSubstr("\"model_type\" is '7', but should be a text"));
  EXPECT_THAT(config("rms_norm_eps", "small"),
              HasSubstr("\"rms_norm_eps\" is '\"small\"', but should be a number"));
  EXPECT_THAT(config("tie_word_embeddings", 1), HasSubstr("should be true or false"));
  EXPECT_THAT(config("rope_scaling", "llama3"), HasSubstr("\"rope_scaling\" is no object"));
  EXPECT_THAT(config("rope_scaling", {{"rope_type", 3}}), HasSubstr("\"rope_type\" is '3'"));
  EXPECT_THAT(config("model_type", std::string(100000, 'x')), HasSubstr("'xxx"));
}

TEST_F(HostileFolder, AbsurdSizesAreRefusedBeforeMemoryIsTaken) {
  EXPECT_THAT(config("num_hidden_layers", 1000000000000),
              HasSubstr("layers is 1000000000000, outside 1 to 4096"));
  EXPECT_THAT(config("vocab_size", std::int64_t{1} << 40), HasSubstr("vocab is 1099511627776, outside"));
  EXPECT_THAT(config("hidden_size", std::int64_t{1} << 62),
              HasSubstr("width is 4611686018427387904, outside"));
  EXPECT_THAT(config("intermediate_size", -1), HasSubstr("ffn_width is -1, outside"));
  EXPECT_THAT(config("head_dim", 0), HasSubstr("head_dim is 0, outside"));
  EXPECT_THAT(config("head_dim", 7), HasSubstr("head_dim (7) is odd"));
  EXPECT_THAT(config("num_attention_heads", 0), HasSubstr("heads is 0, outside"));
  EXPECT_THAT(config("num_key_value_heads", 3), HasSubstr("not a multiple of kv_heads (3)"));
  EXPECT_THAT(config("max_position_embeddings", std::int64_t{1} << 50), HasSubstr("context is"));
  // The largest that pass the bounds do not fit the file.
  EXPECT_THAT(config("num_hidden_layers", 4096),
              HasSubstr("has no tensor 'model.layers.2.input_layernorm.weight'"));
  EXPECT_THAT(
      config("vocab_size", 1 << 24),
      HasSubstr("tensor model.embed_tokens.weight is [281, 64], but the configuration says [16777216, 64]"));
  EXPECT_THAT(config("intermediate_size", 1 << 22), HasSubstr("mlp.gate_proj.weight is [88, 64]"));
}

TEST_F(HostileFolder, NumbersMustMakeSense) {
  EXPECT_THAT(config("rms_norm_eps", 0), HasSubstr("norm_epsilon (0) is not positive"));
  EXPECT_THAT(config("rope_theta", -10000.0), HasSubstr("rope_theta (-10000) is not positive"));
  Json scaling = read("config.json")["rope_scaling"];
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    Json without = scaling, zero = scaling;
    without.erase(key);
    zero[key] = 0;
    EXPECT_THAT(config("rope_scaling", without), HasSubstr(fmt::format("\"{}\" is missing", key)));
    EXPECT_THAT(config("rope_scaling", zero), HasSubstr("rope scaling"));
  }
  EXPECT_THAT(config("rope_scaling", {{"type", "linear"}}), HasSubstr("\"factor\" is missing"));
}

TEST_F(HostileFolder, WhatTheForwardLacksIsRefused) {
  EXPECT_THAT(config("model_type", "gemma3"),
              HasSubstr("\"model_type\" is 'gemma3'; this program runs llama"));
  EXPECT_THAT(config("hidden_act", "gelu"), HasSubstr("only \"silu\" is supported"));
  EXPECT_THAT(config("attention_bias", true), HasSubstr("\"attention_bias\" is 'true'"));
  EXPECT_THAT(config("rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}}),
              HasSubstr("rope scaling 'yarn' is not supported"));
  EXPECT_THAT(config("quantization_config", {{"quant_method", "gptq"}}), HasSubstr("quantized by 'gptq'"));
  restore("qwen3");
  EXPECT_THAT(config("layer_types", {"full_attention", "sliding_attention"}),
              HasSubstr("1 of 2 layers have a sliding"));
  EXPECT_THAT(config("layer_types", {"sliding_attention"}), HasSubstr("no list of 2 layers"));
  EXPECT_THAT(config("layer_types", {"linear_attention", "full_attention"}),
              HasSubstr("'\"linear_attention\"'"));
  EXPECT_EQ(config("layer_types", {"full_attention", "full_attention"}), "");
  EXPECT_THAT(config("head_dim", Json()),
              HasSubstr("but the configuration says [512, 64]"));  // transformers' 128
}

TEST_F(HostileFolder, FilesMustBeThere) {
  write("config.json", "{\"model_type\": ");
  EXPECT_THAT(failure(), HasSubstr("/config.json: not valid JSON"));
  write("config.json", "[]");
  EXPECT_THAT(failure(), HasSubstr("/config.json: is not a JSON object"));
  write("config.json", std::string(100000, '['));
  EXPECT_THAT(failure(), HasSubstr("/config.json: "));
  fs::remove(folder_ + "/config.json");
  EXPECT_THAT(failure(), HasSubstr("has no config.json"));
  for (const char* file : {"tokenizer.json", "model-00002-of-00003.safetensors"}) {
    restore("llama3");
    fs::remove(folder_ + "/" + file);
    EXPECT_THAT(failure(), HasSubstr(fmt::format("/{}: cannot open", file)));
  }
  restore("llama3");
  fs::remove(folder_ + "/model.safetensors.index.json");
  EXPECT_EQ(failure(), "");  // all of the folder's files then
  for (int i = 1; i <= 3; ++i) fs::remove(folder_ + fmt::format("/model-0000{}-of-00003.safetensors", i));
  EXPECT_THAT(failure(), HasSubstr("has no .safetensors file"));
}

TEST_F(HostileFolder, TheIndexMustHold) {
  Json map = read("model.safetensors.index.json")["weight_map"];
  const auto index = [&](const std::string& file) {
    map["model.norm.weight"] = file;
    return with("model.safetensors.index.json", "weight_map", map);
  };
  EXPECT_THAT(index("model-00009-of-00003.safetensors"),
              HasSubstr("/model-00009-of-00003.safetensors: cannot open"));
  EXPECT_THAT(index("model-00001-of-00003.safetensors"), HasSubstr("lacks the tensor 'model.norm.weight'"));
  EXPECT_THAT(index("../config.json"), HasSubstr("no plain file name"));
  std::ofstream(folder_ + "/model-00003-of-00003.safetensors", std::ios::app) << "more";
  EXPECT_THAT(failure(), HasSubstr("/model-00003-of-00003.safetensors: has 4 bytes after the last tensor"));
}

/// A safetensors file of one tensor that holds zeros.
std::string one_tensor(const std::string& name, const std::string& type, const std::string& shape,
                       std::size_t bytes) {
  const std::string header =
      fmt::format(R"({{"{}":{{"dtype":"{}","shape":{},"data_offsets":[0,{}]}}}})", name, type, shape, bytes);
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(bytes, '\0');
}

TEST_F(HostileFolder, TensorsMustFitTheConfiguration) {
  fs::remove(folder_ + "/model.safetensors.index.json");
  for (int i = 1; i <= 3; ++i) fs::remove(folder_ + fmt::format("/model-0000{}-of-00003.safetensors", i));
  const auto embedding = [&](const std::string& type, const std::string& shape, std::size_t bytes) {
    write("model.safetensors", one_tensor("model.embed_tokens.weight", type, shape, bytes));
    return failure();
  };
  EXPECT_THAT(embedding("F16", "[281,64]", 281 * 64 * 2),
              HasSubstr("has no tensor 'model.layers.0.input_layernorm.weight': it is not a whole model"));
  EXPECT_THAT(embedding("F16", "[64,281]", 281 * 64 * 2),
              HasSubstr("is [64, 281], but the configuration says [281, 64]"));
  EXPECT_THAT(embedding("F16", "[17984]", 281 * 64 * 2),
              HasSubstr("is [17984], but the configuration says [281, 64]"));
  EXPECT_THAT(embedding("F64", "[281,64]", 281 * 64 * 8),
              HasSubstr("has the type F64, which cannot be read"));
  EXPECT_THAT(embedding("I32", "[281,64]", 281 * 64 * 4), HasSubstr("has integer type"));
  EXPECT_THAT(embedding("F16", "[0,64]", 0), HasSubstr("is [0, 64]"));
}

TEST_F(HostileFolder, TheTokenizerMustFitTheVocabulary) {
  Json tokenizer = read("tokenizer.json");
  tokenizer["added_tokens"].push_back({{"id", 281}, {"content", "<|more|>"}, {"special", true}});
  write("tokenizer.json", tokenizer.dump());
  EXPECT_THAT(failure(), HasSubstr("the tokenizer has 282 tokens, but the embedding only 281"));
  tokenizer["added_tokens"].back()["id"] = std::int64_t{1} << 40;
  write("tokenizer.json", tokenizer.dump());
  EXPECT_THAT(failure(), HasSubstr("/tokenizer.json: "));
  write("tokenizer.json", "{}");
  EXPECT_THAT(failure(), HasSubstr("/tokenizer.json: tokenizer.json has no \"model\""));
  restore("llama3");
  EXPECT_THAT(with("tokenizer_config.json", "chat_template", "{% if %}"), HasSubstr("chat template"));
}

TEST_F(HostileFolder, TheGenerationConfigMustMakeSense) {
  const auto generation = [&](const char* key, const Json& value) {
    return with("generation_config.json", key, value);
  };
  EXPECT_THAT(generation("temperature", "hot"),
              HasSubstr("/generation_config.json: \"temperature\" is '\"hot\"'"));
  EXPECT_THAT(generation("temperature", -1), HasSubstr("\"temperature\" is -1, outside 0 to"));
  EXPECT_THAT(generation("top_p", 1.5), HasSubstr("\"top_p\" is 1.5, outside 0 to 1"));
  EXPECT_THAT(generation("top_k", 1e12), HasSubstr("\"top_k\" is '1000000000000.0'"));
  EXPECT_THAT(generation("do_sample", "yes"), HasSubstr("\"do_sample\""));
  EXPECT_THAT(generation("max_new_tokens", 0), HasSubstr("\"max_new_tokens\" is 0"));
  EXPECT_THAT(generation("eos_token_id", 4294967298), HasSubstr("\"eos_token_id\" is '4294967298'"));
  EXPECT_THAT(generation("eos_token_id", {2, "x"}), HasSubstr("\"eos_token_id\" is '\"x\"'"));
  EXPECT_THAT(generation("eos_token_id", {2, 5000}), HasSubstr("end of generation is token 5000"));
  write("generation_config.json", "[1]");
  EXPECT_THAT(failure(), HasSubstr("/generation_config.json: is not a JSON object"));
}

TEST_F(HostileFolder, WithoutAGenerationConfigTheConfigNamesTheEnd) {
  fs::remove(folder_ + "/generation_config.json");
  Json json = read("config.json");
  json["eos_token_id"] = {100, 200};
  write("config.json", json.dump());
  auto files = ModelFiles::open(folder_);
  ASSERT_TRUE(files.ok()) << files.error().text();
  EXPECT_EQ((*files)->end_tokens(), (std::vector<std::int32_t>{100, 200}));
}

}  // namespace
}  // namespace tw::model
