// Every family against Hugging Face transformers in fp32, on tiny models with random weights: folders and
// GGUF files, on every kernel set of this machine. The script that made them has checked that each feature of
// each family (rotary scaling, window, biases, QK-norm) shows in these logits.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <tuple>

#include "model/families.h"
#include "model/test_families.h"
#include "model/test_harness.h"

namespace tw::model {
namespace {

using Parameter = std::tuple<std::string, std::string>;  // kernel set, model

class FamilyGolden : public ::testing::TestWithParam<Parameter> {
 protected:
  const std::string& isa() const { return std::get<0>(GetParam()); }
  std::string path() const { return kFamilies + golden_["path"].get<std::string>(); }
  /// fp32 by another order of additions; logits are up to about 10. Quantized rows on the fast sets are
  /// multiplied with activations of 15 bits; the amx set computes prompts in bf16.
  double bound() const {
    if (isa() == "amx") return 0.6;
    const bool exact = isa() == "ref" || std::get<1>(GetParam()).find("-Q") == std::string::npos;
    return exact ? 1e-4 : 5e-3;
  }

  const base::Json golden_ = family_golden(std::get<1>(GetParam()));
};

TEST_P(FamilyGolden, PromptLogitsAreTransformers) {
  Harness harness(path(), isa(), 1, 2);
  const double largest = largest_golden_difference(harness, golden_);
  RecordProperty("largest_difference", std::to_string(largest));
  std::printf("largest difference of a logit: %.7f\n", largest);
  EXPECT_LT(largest, bound());
}

/// All tokens by the kernels of generated ones, which are precise on every set.
TEST_P(FamilyGolden, GreedyAnswersAreTransformers) {
  Harness harness(path(), isa(), 1, 2);
  int sequence = 0;
  for (const base::Json& prompt : golden_["prompts"]) {
    std::vector<std::int32_t> next = ids_of(prompt["ids"]), answer;
    std::int64_t past = 0;
    for (std::size_t i = 0; i < prompt["greedy"].size(); ++i) {
      harness.add(sequence, next, past, false, true);
      past += static_cast<std::int64_t>(next.size());
      next = {argmax(harness.run()[0])};
      answer.push_back(next[0]);
    }
    EXPECT_EQ(answer, ids_of(prompt["greedy"])) << "prompt " << sequence;
    ++sequence;
  }
}

TEST_P(FamilyGolden, ChunkedAndBatchedEqualWholeBitForBit) {
  const auto prompt = ids_of(golden_["prompts"][0]["ids"]), other = ids_of(golden_["prompts"][1]["ids"]);
  Harness whole(path(), isa(), 1), cut(path(), isa(), 3, 2);
  whole.add(0, prompt, 0, true);
  const auto expected = whole.run();
  std::size_t at = 0;
  for (const std::size_t length : {std::size_t{1}, std::size_t{18}, prompt.size() - 19}) {
    cut.add(0, std::span(prompt).subspan(at, length), static_cast<std::int64_t>(at), true);
    if (at == 1) cut.add(1, other, 0);
    const auto rows = cut.run();
    for (std::size_t i = 0; i < length; ++i) ASSERT_EQ(rows[i], expected[at + i]) << "row " << at + i;
    at += length;
  }
}

class FamilyFolder : public FamilyGolden {};

/// A header of odd length puts every tensor at an odd address, where it is copied before it is used.
TEST_P(FamilyFolder, UnalignedWeightsAreTheSame) {
  const std::string folder = testing::TempDir() + "unaligned_" + std::to_string(getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::copy(path(), folder);
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".safetensors") continue;
    std::string bytes = base::read_file(file.path()).value();
    std::uint64_t header = 0;
    std::memcpy(&header, bytes.data(), sizeof header);
    bytes.insert(sizeof header + header++, " ");
    std::memcpy(bytes.data(), &header, sizeof header);
    ASSERT_TRUE(base::write_file_atomically(file.path(), bytes).ok());
  }
  Harness aligned(path(), isa(), 1), unaligned(folder, isa(), 1);
  std::filesystem::remove_all(folder);
  const auto prompt = ids_of(golden_["prompts"][0]["ids"]);
  aligned.add(0, prompt, 0, true);
  unaligned.add(0, prompt, 0, true);
  EXPECT_EQ(aligned.run(), unaligned.run());
}

std::string set_and_model(const ::testing::TestParamInfo<Parameter>& info) {
  return std::get<0>(info.param) + "_" + test_name(std::get<1>(info.param));
}

const auto kSets = ::testing::ValuesIn(kernels::available_sets(kernels::detect_features()));
INSTANTIATE_TEST_SUITE_P(Families, FamilyGolden,
                         ::testing::Combine(kSets, ::testing::ValuesIn(family_names())), set_and_model);
INSTANTIATE_TEST_SUITE_P(Families, FamilyFolder,
                         ::testing::Combine(kSets, ::testing::ValuesIn(family_names("end_tokens"))),
                         set_and_model);

class FamilyCard : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string path = kFamilies + golden_["path"].get<std::string>();
    auto files = ModelFiles::open(path);
    ASSERT_TRUE(files.ok()) << files.error().text();
    files_ = std::move(*files);
    auto card = read_card(*files_, path);
    ASSERT_TRUE(card.ok()) << card.error().text();
    card_ = *std::move(card);
  }

  const base::Json golden_ = family_golden(GetParam());
  const base::Json text_ = read_family_goldens("texts")[golden_["text"].get<std::string>()];
  std::unique_ptr<ModelFiles> files_;
  ModelCard card_;
};

TEST_P(FamilyCard, TokensAreTransformers) {
  for (const base::Json& line : text_["lines"]) {
    const auto text = line["text"].get<std::string>();
    EXPECT_EQ(card_.tokenizer->encode(text, {.add_special = true, .parse_special = true}),
              ids_of(line["ids"]))
        << text;
    const auto plain = card_.tokenizer->encode(text, {.add_special = false, .parse_special = true});
    EXPECT_EQ(plain, ids_of(line["plain"])) << text;
    EXPECT_EQ(card_.tokenizer->decode(plain, false), line["decoded"].get<std::string>());
  }
}

TEST_P(FamilyCard, ChatIsTransformers) {
  ASSERT_NE(card_.chat_template, nullptr);
  base::OrderedJson context;
  context["messages"] = base::OrderedJson::parse(text_["messages"].dump());
  context["add_generation_prompt"] = true;
  const auto named = [&](const char* name, std::optional<text::TokenId> id) {
    if (id) context[name] = card_.tokenizer->piece(*id);
  };
  named("bos_token", card_.tokenizer->bos());
  named("eos_token", card_.tokenizer->eos());
  const auto rendered = card_.chat_template->render(context);
  ASSERT_TRUE(rendered.ok()) << rendered.error().text();
  EXPECT_EQ(*rendered, text_["chat"].get<std::string>());
}

TEST_P(FamilyCard, IsNamedByItsFileOrFolder) {
  EXPECT_EQ(card_.name, GetParam());
  const std::string file = kFamilies + golden_["path"].get<std::string>();
  if (!std::filesystem::is_directory(file)) return;
  const std::string folder = testing::TempDir() + "Tiny2.5-0.5B-" + std::to_string(getpid());
  std::filesystem::create_directory_symlink(file, folder);
  for (const std::string& path : {folder, folder + "/"}) {
    const auto card = read_card(**ModelFiles::open(path), path);
    ASSERT_TRUE(card.ok()) << card.error().text();
    EXPECT_EQ(card->name, "Tiny2.5-0.5B-" + std::to_string(getpid()));
  }
  std::filesystem::remove(folder);
}

TEST_P(FamilyCard, EveryTensorOfTheFileIsUsed) {
  ParamStore store;
  const Transformer transformer(card_.config, store);
  std::vector<std::string> used{"rope_freqs.weight"};
  for (const Param& param : store.params()) {
    const auto entry = files_->get(param.name);
    ASSERT_TRUE(entry.ok()) << entry.error().text();
    EXPECT_EQ((*entry)->shape, param.shape) << param.name;
    used.push_back((*entry)->name);
  }
  for (const io::TensorEntry* tensor : files_->tensors())
    EXPECT_NE(std::find(used.begin(), used.end(), tensor->name), used.end()) << tensor->name;
  EXPECT_EQ(card_.config.parameter_count(), store.total_elements());
}

TEST_P(FamilyCard, GenerationConfigIsHonoured) {
  const GenerationDefaults& d = card_.defaults;
  const base::Json& sampling = golden_["sampling"];
  // Where sampling is off, transformers leaves out what only plays a part in it.
  const bool on = sampling.value("do_sample", true);
  const auto expect = [&](const char* key, const auto& value, bool counts) {
    using T = std::decay_t<decltype(*value)>;
    const bool set = counts && sampling.contains(key);
    EXPECT_EQ(value, set ? std::optional(sampling[key].get<T>()) : std::nullopt) << key;
  };
  expect("temperature", d.temperature, on);
  expect("top_p", d.top_p, on);
  expect("top_k", d.top_k, on);
  expect("min_p", d.min_p, on);
  expect("repetition_penalty", d.repetition_penalty, true);
  if (!golden_.contains("end_tokens")) return;  // GGUF files have no place for the rest
  EXPECT_EQ(d.max_new_tokens, 50);
  for (const auto id : ids_of(golden_["end_tokens"]))
    EXPECT_TRUE(card_.tokenizer->is_end_of_generation(id)) << id;
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyCard, ::testing::ValuesIn(family_names()),
                         [](const auto& info) { return test_name(info.param); });

}  // namespace
}  // namespace tw::model
