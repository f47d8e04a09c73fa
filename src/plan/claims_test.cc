#include "plan/claims.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <tuple>

#include "base/mmap.h"
#include "plan/claims_units.h"
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

base::Result<Ranged> nothing(const std::string& name, std::span<const Ranged>) {
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
    EXPECT_DOUBLE_EQ(got->value, value) << text;
    EXPECT_EQ(got->low, got->value) << text;
    EXPECT_EQ(got->high, got->value) << text;
  }
  for (const char* bad : {"", "1 +", "(1", "1 2", "x", "f(1)", "1 / 0", "1..2.3", "min(", "sqrt(0 - 1)",
                          "1 $ 2", "sqrt(16, 99)", "floor(1, 2)"})
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
  for (const ClaimNumber& s : c.steps) text += fmt::format(" {}", s.quantity.value);
  for (const ClaimCheck& k : c.checks) text += fmt::format(" {}", k.quantity.value);
  return text;
}

/// A number that its file can say instead: with its unit where it has one of a dimension.
base::OrderedJson altered(const ClaimNumber& input, double factor) {
  const double value = input.quantity.value * factor;
  if (input.formula.find_first_of(" %") == std::string::npos) return value;
  return fmt::format("{} {}", value, input.quantity.unit);
}

TEST(Claims, EachInputMattersToItsVerdictOrNumbers) {
  ASSERT_GE(shipped_claims().size(), 25U);
  for (const auto& [file, json] : shipped_claims()) {
    const auto before = check_claim(file, json);
    ASSERT_TRUE(before.ok());
    bool verdict_moves = false;
    for (const ClaimNumber& input : before->inputs) {
      for (const double factor : {0.01, 10.0}) {
        auto document = *base::parse_ordered_json(json);
        document["inputs"][input.name] = altered(input, factor);
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

TEST(Claims, EachAssumptionAndMeasuredFigureMovesACheck) {
  const auto checked = [](const ClaimResult& c) {
    std::string text;
    for (const ClaimCheck& k : c.checks) text += fmt::format(" {}", k.quantity.value);
    return text;
  };
  int assumptions = 0;
  for (const auto& [file, json] : shipped_claims()) {
    const auto before = check_claim(file, json);
    ASSERT_TRUE(before.ok());
    for (const ClaimNumber& n : before->assumptions) {
      auto document = *base::parse_ordered_json(json);
      document["assume"][n.name] = altered(n, 1.5);
      const auto after = check_claim(file, document.dump());
      ASSERT_TRUE(after.ok()) << after.error().text();
      EXPECT_NE(checked(*after), checked(*before)) << file << ": " << n.name;
      ++assumptions;
    }
    // That cell of the catalogue is the claim's own price over eight.
    EXPECT_EQ(json.find("P100.price_usd_est"), std::string::npos) << file;
  }
  EXPECT_GT(assumptions, 30);
}

TEST(Claims, BrokenFilesAreToldByFieldAndName) {
  const std::pair<const char*, const char*> broken[] = {
      {"[]", "no JSON object"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "check": []})", "there is no field \"check\""},
      {R"({"claim": "c", "source": "s", "inputs": {"a": "1 furlong"}})",
       "no number with a unit that is known"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "a +", "1"]]})",
       "steps: b: \"a +\": a number"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "a", "x of it"]]})", "no unit"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["a", "a", "1"]]})", "two numbers"},
      {R"({"claim": "c", "source": "s", "inputs": [1]})", "no object"},
      {R"({"claim": "c", "claim": "d", "source": "s", "inputs": {"a": 1}})", "twice"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "Chana.mem_gb", "GB"]]})",
       "mem_gb"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "H100.colour", "1"]]})",
       "colour"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}, "models": {"m": "gpt-9"}})", "gpt-9"},
      {R"({"claim": "c\u001b[2J", "source": "s", "inputs": {"a": 1}})", "control character"},
      {R"({"claim": "c", "source": "s", "units": {"a": "5"}, "inputs": {"a": "15"}})", "no unit"},
      {R"({"claim": "c", "source": "s", "units": {"a": "\r"}, "inputs": {"a": "15"}})", "no unit"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": "5 h"}, "steps": [["b", "a", "h"]]})",
       "a is in s: \"a\" alone is no number of h"},
      {R"x({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "goodput(0, 3, 30, 9)", "1"]]})x",
       "goodput takes nodes"},
      {R"x({"claim": "c", "source": "s", "inputs": {"a": 1}, "steps": [["b", "goodput(9, 3, 0 - 30, 9)", "1"]]})x",
       "goodput takes nodes"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1},
           "checks": [{"text": "t", "by": "b", "value": "a", "low": "5", "high": "0 - 3"}]})",
       "low 5 is above high -3"},
      {R"({"claim": "c", "source": "s", "inputs": {"a": 1}})", "inputs and checks"}};
  for (const auto& [text, part] : broken) {
    const auto claim = check_claim("x.json", text);
    ASSERT_FALSE(claim.ok()) << text;
    EXPECT_NE(claim.error().text().find(part), std::string::npos) << claim.error().text();
    EXPECT_TRUE(claim.error().where.starts_with("x.json")) << claim.error().where;
  }
}

std::string claim_of(const std::string& inputs, const std::string& value, const std::string& rest = "") {
  return "{\"claim\": \"c\", \"source\": \"s\",\n" + rest + "\"inputs\": {\n" + inputs +
         "},\n\"checks\": [{\"text\": \"t\", \"by\": \"b\", \"value\": \"" + value +
         "\", \"low\": \"0.9\", \"high\": \"1.1\"}]}";
}

TEST(Expression, RangesAreThoseOfIntervals) {
  const auto names = [](const std::string& name, std::span<const Ranged>) -> base::Result<Ranged> {
    if (name == "a") return Ranged{2, 1, 4, Provenance::kMeasured};
    if (name == "b") return Ranged{-1, -2, 3, Provenance::kVendorClaim};
    return base::error(base::Code::kNotFound, "there is no \"{}\"", name);
  };
  // Ends by hand, from what each operation does to the ends of [1, 4] and [-2, 3].
  const std::tuple<const char*, double, double, double> good[] = {
      {"a + b", 1, -1, 7},      {"a - b", 3, -2, 6},
      {"a * b", -2, -8, 12},    {"b / a", -0.5, -2, 3},
      {"-a", -2, -4, -1},       {"b ^ 2", 1, 0, 9},
      {"a ^ 2", 4, 1, 16},      {"2 ^ b", 0.5, 0.25, 8},
      {"abs(b)", 1, 0, 3},      {"sqrt(a * 4)", std::sqrt(8.0), 2, 4},
      {"min(a, b)", -1, -2, 3}, {"max(a, 3)", 3, 3, 4},
      {"ceil(a / 3)", 1, 1, 2}, {"floor(a / 3)", 0, 0, 1},
      {"12 / a", 6, 3, 12}};
  for (const auto& [text, value, low, high] : good) {
    const auto got = evaluate(text, names);
    ASSERT_TRUE(got.ok()) << text << ": " << got.error().text();
    EXPECT_DOUBLE_EQ(got->value, value) << text;
    EXPECT_DOUBLE_EQ(got->low, low) << text;
    EXPECT_DOUBLE_EQ(got->high, high) << text;
  }
  EXPECT_EQ(evaluate("a + b", names)->provenance, Provenance::kVendorClaim);
  EXPECT_EQ(evaluate("2 * a", names)->provenance, Provenance::kMeasured);
  EXPECT_FALSE(evaluate("2 * 3", names)->provenance.has_value());
  const auto zero = evaluate("a / b", names);
  ASSERT_FALSE(zero.ok());
  EXPECT_NE(zero.error().text().find("may be 0"), std::string::npos);
  EXPECT_FALSE(evaluate("sqrt(b + 1)", names).ok());
}

TEST(Claims, NumbersHaveTheRangesOfTheirSources) {
  // 989.4 TFLOP/s is a datasheet's (2 %), a 910B's 320 a maker's (10 %), a price 25 %: plan catalog says so.
  const std::pair<const char*, std::array<double, 2>> cells[] = {
      {"a * H100.bf16_dense_tflops", {969.612, 1009.188}},
      {"a * Ascend_910B.fp16_dense_tflops", {288, 352}},
      {"a * H100.price_usd_est", {22500, 37500}}};
  for (const auto& [formula, range] : cells) {
    const auto claim = check_claim("x.json", claim_of("\"a\": 1", formula));
    ASSERT_TRUE(claim.ok()) << claim.error().text();
    EXPECT_NEAR(claim->checks[0].quantity.low, range[0], 1e-9) << formula;
    EXPECT_NEAR(claim->checks[0].quantity.high, range[1], 1e-9) << formula;
  }
  const auto own = check_claim("x.json", claim_of(R"("a": {"value": "10 min", "low": "5 min", "high": "1 h",
      "provenance": "measured", "note": "n"})",
                                                  "a / 600"));
  ASSERT_TRUE(own.ok()) << own.error().text();
  EXPECT_EQ(own->checks[0].quantity.low, 0.5);
  EXPECT_EQ(own->checks[0].quantity.high, 6);
  EXPECT_EQ(own->checks[0].quantity.provenance, Provenance::kMeasured);
  EXPECT_NE(claim_text(*own).find("a = 10 min (5 min to 1 h), measured; n\n"), std::string::npos);
  EXPECT_NE(claim_text(*own).find("1 (0.5 to 6), measured, is within 0.9 to 1.1, its range is not"),
            std::string::npos);
  for (const auto& [file, json] : shipped_claims()) {
    const auto claim = check_claim(file, json);
    for (const auto& list : {claim->assumptions, claim->steps}) {
      for (const ClaimNumber& n : list) {
        EXPECT_LE(n.quantity.low, n.quantity.value) << file << ": " << n.name;
        EXPECT_GE(n.quantity.high, n.quantity.value) << file << ": " << n.name;
        // What a cell of the catalogue stands in is known no better than the cell.
        if (n.formula.find("_tflops") != std::string::npos || n.formula.find(".mem_") != std::string::npos) {
          EXPECT_LT(n.quantity.low, n.quantity.high) << file << ": " << n.name;
        }
      }
    }
  }
}

TEST(Claims, ARangeThatReachesWhatIsWantedDoesNotContradict) {
  const auto fit_of = [](const char* range) {
    const auto claim = check_claim("x.json", claim_of("\"a\": " + std::string(range), "a"));
    EXPECT_TRUE(claim.ok());
    return std::pair(claim->checks[0].fit, *claim);
  };
  EXPECT_EQ(fit_of("1").first, Fit::kWholly);
  EXPECT_EQ(fit_of(R"({"value": 1, "low": 0.5})").first, Fit::kByValue);
  EXPECT_EQ(fit_of(R"({"value": 2, "low": 1.5})").first, Fit::kNot);
  const auto [fit, claim] = fit_of(R"({"value": 2, "low": 1})");
  EXPECT_EQ(fit, Fit::kByRange);
  EXPECT_EQ(claim.verdict, Verdict::kConsistent);
  EXPECT_EQ(claim.reason, "only within the range of t, not by its value");
  EXPECT_TRUE(claim_text(claim).starts_with("x.json: consistent (only within the range"));
  EXPECT_NE(claim_text(claim).find("is outside 0.9 to 1.1, its range is not wholly"), std::string::npos);
}

TEST(Claims, EveryNumberHasAUnitOfOneWord) {
  for (const auto& [file, json] : shipped_claims()) {
    const auto claim = check_claim(file, json);
    const auto document = *base::parse_ordered_json(json);
    ASSERT_TRUE(claim.ok());
    for (const auto& list : {claim->inputs, claim->assumptions, claim->steps}) {
      for (const ClaimNumber& n : list)
        EXPECT_TRUE(parse_claim_unit(n.quantity.unit).ok()) << file << ": " << n.name;
    }
    for (const auto& list : {claim->inputs, claim->assumptions}) {
      for (const ClaimNumber& n : list)
        EXPECT_TRUE(document["units"].contains(n.name)) << file << ": " << n.name;
    }
    for (const ClaimCheck& c : claim->checks)
      EXPECT_TRUE(parse_claim_unit(c.quantity.unit).ok()) << file << ": " << c.text;
  }
  for (const char* unit : {"s", "TFLOP/s", "USD/h", "J/token", "%", "1", "x", "accelerator-hours"})
    EXPECT_TRUE(parse_claim_unit(unit).ok()) << unit;
  for (const char* prose :
       {"", "x: FP4 with sparsity against FP16", "expected in that time", "x, FP8", "TB:"})
    EXPECT_FALSE(parse_claim_unit(prose).ok()) << prose;
  const auto claim =
      check_claim("x.json", claim_of("\"a\": \"1 GB/s\"", "a / b", "\"units\": {\"a\": \"MB/s\"},\n")
                                .replace(0, 1, R"({"steps": [["b", "a", "MB/s", "of it"]],)"));
  ASSERT_TRUE(claim.ok()) << claim.error().text();
  EXPECT_EQ(claim->inputs[0].quantity.value, 1000);
  EXPECT_EQ(claim_json(*claim)["numbers"]["b"]["note"], "of it");
  EXPECT_EQ(claim_json(*claim)["checks"][0]["unit"], "1");
}

TEST(Claims, UnitsAreWantedWhereNumbersCouldBeMistaken) {
  const std::string units = R"("units": {"a": "s", "n": "accelerators", "p": "%", "j": "J/token"},)";
  const auto error_of = [&](const std::string& input, const std::string& rest) {
    std::string inputs;
    for (const char* other : {"\"a\": \"1 s\"", "\"n\": 1", "\"p\": \"1 %\"", "\"j\": \"1 J/token\""}) {
      if (input[1] != other[1] && !rest.empty()) inputs += std::string(other) + ",\n";
    }
    const auto claim = check_claim("x.json", claim_of(inputs + input, "1", rest));
    return claim.ok() ? std::pair(std::string(), std::string())
                      : std::pair(claim.error().message, claim.error().where);
  };
  const std::pair<const char*, const char*> declared[] = {
      {"\"a\": 90", "inputs: a: \"90\" needs a unit, such as \"90 s\""},
      {"\"a\": \"90\"", "needs a unit"},
      {"\"a\": \"15 MW\"", "has the unit \"MW\", but must have one of years, days"},
      {"\"a\": \"-9 s\"", "negative"},
      {"\"a\": {\"value\": \"9 s\", \"low\": 3}", "needs a unit"},
      {"\"a\": {\"value\": \"9 s\", \"low\": \"10 s\"}", "not within low"},
      {"\"a\": {\"value\": \"9 s\", \"unit\": \"s\"}", "no field \"unit\""},
      {"\"a\": {\"value\": \"9 s\", \"provenance\": \"hearsay\"}", "vendor claim"},
      {"\"n\": -8000", "\"-8000\" is negative: it is counted in accelerators"},
      {"\"n\": \"15 MW\"", "it is counted in accelerators"},
      {"\"p\": 8", "needs its unit: \"8 %\""},
      {"\"j\": 0.2", "needs its unit: \"0.2 J/token\""},
      {"\"j\": \"0.2 W\"", "counted in J/token"}};
  for (const auto& [input, part] : declared) {
    const auto [message, where] = error_of(input, units);
    EXPECT_NE(message.find(part), std::string::npos) << input << ": " << message;
    EXPECT_EQ(where, "x.json:6") << input;
  }
  for (const char* good :
       {"\"n\": \"8k\"", "\"n\": \"8000 accelerators\"", "\"p\": \"8%\"", "\"a\": \"2 h\""})
    EXPECT_EQ(error_of(good, units).first, "") << good;
  // Without a word of the file's on its unit, a name like these says that there is one.
  const std::pair<const char*, const char*> by_name[] = {
      {"\"duration\": 90", "needs a unit"},
      {"\"power\": \"15\"", "such as \"15 W\""},
      {"\"duration\": \"15 MW\"", "must have one of years"},
      {"\"host_memory\": 80", "such as \"80 GB\""},
      {"\"gpus\": -8000", "negative"}};
  for (const auto& [input, part] : by_name) {
    const auto [message, where] = error_of(input, "");
    EXPECT_NE(message.find(part), std::string::npos) << input << ": " << message;
    EXPECT_EQ(where, "x.json:3") << input;
  }
  EXPECT_EQ(error_of("\"energy\": 350", "").first, "");
  const auto stray = check_claim("x.json", claim_of("\"a\": 1", "a", "\"units\": {\n\"b\": \"s\"},\n"));
  ASSERT_FALSE(stray.ok());
  EXPECT_EQ(stray.error().where, "x.json:3");
}

TEST(Claims, ABlankOfTheCatalogueIsAdvisedOnAsAClaimCanHeed) {
  for (const char* cell : {"GTX_580.bf16_dense_tflops", "GTX_580.mem_bw_gbs", "H100.fp4_dense_tflops"}) {
    const auto claim = check_claim("x.json", claim_of("\"a\": 1", std::string("a * ") + cell));
    ASSERT_FALSE(claim.ok());
    EXPECT_EQ(claim.error().where, "x.json:4") << cell;
    EXPECT_NE(claim.error().message.find(R"(state it in "assume")"), std::string::npos)
        << claim.error().message;
    EXPECT_EQ(claim.error().message.find("--"), std::string::npos) << claim.error().message;
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
