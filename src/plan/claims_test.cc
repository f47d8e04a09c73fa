#include "plan/claims.h"

#include <gtest/gtest.h>

#include "base/mmap.h"
#include "plan/expression.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

std::vector<std::pair<std::string, std::string>> shipped_claims() {
  std::vector<std::pair<std::string, std::string>> claims;
  for (const ShippedFile& file : shipped_files()) {
    if (file.name.starts_with("claims/")) claims.emplace_back(file.name.substr(7), file.text);
  }
  return claims;
}

base::Result<double> nothing(const std::string& name, std::span<const double>) {
  return base::error(base::Code::kNotFound, "there is no \"{}\"", name);
}

TEST(Expression, ComputesAsPeopleWriteIt) {
  const std::pair<const char*, double> good[] = {{"1 + 2 * 3", 7},  {"(1 + 2) * 3", 9},
                                                 {"2^3^2", 512},    {"-2^2", -4},
                                                 {"2 - 3 - 4", -5}, {"12 / 3 / 2", 2},
                                                 {"1e3 / 4", 250},  {"min(3, 1, 2)", 1},
                                                 {"ceil(2.1)", 3},  {"sqrt(16) + abs(0 - 1)", 5},
                                                 {"2 * -3", -6}};
  for (const auto& [text, value] : good) {
    const auto got = evaluate(text, nothing);
    ASSERT_TRUE(got.ok()) << text << ": " << got.error().text();
    EXPECT_DOUBLE_EQ(*got, value) << text;
  }
  for (const char* bad :
       {"", "1 +", "(1", "1 2", "x", "f(1)", "1 / 0", "1..2.3", "min(", "sqrt(0 - 1)", "1 $ 2"})
    EXPECT_FALSE(evaluate(bad, nothing).ok()) << bad;
  EXPECT_FALSE(evaluate(std::string(1000, '('), nothing).ok());
  EXPECT_FALSE(evaluate(std::string(1000, '-') + "1", nothing).ok());
  std::string tower = "1";
  for (int i = 0; i < 150'000; ++i) tower += "^1";
  const auto deep = evaluate(tower, nothing);
  ASSERT_FALSE(deep.ok());
  EXPECT_NE(deep.error().text().find("nested too deeply"), std::string::npos);
}

TEST(Claims, AreRecomputedAsWrittenDown) {
  const auto golden = base::read_file(TW_SOURCE_DIR "/examples/claims/golden.txt");
  ASSERT_TRUE(golden.ok());
  std::string text;
  int counts[3] = {0, 0, 0};
  for (const auto& [file, json] : shipped_claims()) {
    const auto claim = check_claim(file, json);
    ASSERT_TRUE(claim.ok()) << claim.error().text();
    text += claim_text(*claim) + "\n";
    ++counts[static_cast<int>(claim->verdict)];
  }
  text +=
      fmt::format("{} consistent, {} need an assumption, {} contradicted\n", counts[0], counts[1], counts[2]);
  EXPECT_EQ(text, *golden) << "tokenworks plan claims > examples/claims/golden.txt writes it anew";
}

/// Verdict and numbers, without the inputs themselves.
std::string outcome(const ClaimResult& c) {
  std::string text(verdict_name(c.verdict));
  for (const ClaimStep& s : c.steps) text += fmt::format(" {}", s.value);
  for (const ClaimCheck& k : c.checks) text += fmt::format(" {}", k.value);
  return text;
}

TEST(Claims, EachInputMattersToItsVerdictOrNumbers) {
  ASSERT_GE(shipped_claims().size(), 25U);
  for (const auto& [file, json] : shipped_claims()) {
    const auto before = check_claim(file, json);
    ASSERT_TRUE(before.ok());
    bool verdict_moves = false;
    for (const ClaimStep& input : before->inputs) {
      for (const double factor : {0.01, 10.0}) {
        auto document = *base::parse_ordered_json(json);
        document["inputs"][input.name] = input.value * factor;
        const auto after = check_claim(file, document.dump());
        // An absurd input may leave nothing to train between failures; that is a change too.
        if (!after.ok()) continue;
        verdict_moves = verdict_moves || after->verdict != before->verdict;
        if (factor > 1) {
          EXPECT_NE(outcome(*after), outcome(*before)) << file << ": " << input.name;
        }
      }
    }
    EXPECT_TRUE(verdict_moves || before->verdict == Verdict::kContradicted) << file;
  }
}

TEST(Claims, BrokenFilesAreToldByFieldAndName) {
  const std::pair<const char*, const char*> broken[] = {
      {"[]", "no JSON object"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "check": []})", "there is no field \"check\""},
      {R"({"claim": "c", "source": "s", "inputs": {"a": "1 furlong"}})", "no number with a unit"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "a +", ""]]})", "missing"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "Chana.mem_gb", ""]]})",
       "mem_gb"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "H100.colour", ""]]})", "colour"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "models": {"m": "gpt-9"}})", "gpt-9"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}})", "inputs and checks"}};
  for (const auto& [text, part] : broken) {
    const auto claim = check_claim("x.json", text);
    ASSERT_FALSE(claim.ok()) << text;
    EXPECT_NE(claim.error().text().find(part), std::string::npos) << claim.error().text();
    EXPECT_TRUE(claim.error().where.starts_with("x.json")) << claim.error().where;
  }
}

TEST(Claims, UnknownFieldsAreToldByLine) {
  const std::string head = "{\"claim\": \"c\", \"source\": \"hihg\",\n \"inputs\": {\"hihg\": 1},\n";
  const auto field = check_claim("x.json", head + "\"check\": []}");
  ASSERT_FALSE(field.ok());
  EXPECT_EQ(field.error().where, "x.json:3");
  const std::string good = R"({"text": "t", "by": "b", "value": "1", "low": "0", "high": "2"})";
  const std::string bad = R"({"text": "t", "by": "b", "value": "1", "low": "0", "high": "2", "need": "x"})";
  EXPECT_TRUE(check_claim("x.json", head + "\"checks\": [" + good + "]}").ok());
  const auto check = check_claim("x.json", head + "\"checks\": [\n" + good + ",\n" + bad + "]}");
  ASSERT_FALSE(check.ok());
  EXPECT_EQ(check.error().where, "x.json:5");
  EXPECT_NE(check.error().text().find("no field \"need\" in a check"), std::string::npos);
}

}  // namespace
}  // namespace tw::plan
