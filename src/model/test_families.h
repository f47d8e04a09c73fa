// For tests: the tiny models of every family, and what transformers makes of them (tests/golden/families, by
// tools/make_family_golden.py).
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "base/mmap.h"
#include "model/test_harness.h"

namespace tw::model {

inline const std::string kFamilies = TW_SOURCE_DIR "/tests/golden/families/";

inline base::Json read_family_goldens(const char* part = "models") {
  return base::parse_json(base::read_file(kFamilies + "golden.json").value()).value()[part];
}

/// The models of which `what` is known.
inline std::vector<std::string> family_names(const char* what = "name") {
  std::vector<std::string> names;
  for (const base::Json& golden : read_family_goldens()) {
    if (golden.contains(what)) names.push_back(golden["name"].get<std::string>());
  }
  return names;
}

inline base::Json family_golden(const std::string& name) {
  for (const base::Json& golden : read_family_goldens()) {
    if (golden["name"] == name) return golden;
  }
  TW_CHECK(false, "a golden model of this name");
  return {};
}

/// "llama3-F16" -> "llama3_F16": GoogleTest's names have no dash.
inline std::string test_name(std::string name) {
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

inline std::vector<std::int32_t> ids_of(const base::Json& list) {
  return list.get<std::vector<std::int32_t>>();
}

/// One row per position of all prompts, in their order.
inline std::vector<std::vector<float>> golden_logits(const base::Json& golden) {
  const std::string bytes = base::read_file(kFamilies + golden["logits"].get<std::string>()).value();
  const auto vocab = golden["vocab"].get<std::size_t>();
  std::vector<std::vector<float>> rows(bytes.size() / sizeof(float) / vocab, std::vector<float>(vocab));
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::memcpy(rows[i].data(), bytes.data() + i * vocab * sizeof(float), vocab * sizeof(float));
  return rows;
}

/// Of all prompts' logits from the golden ones, each prompt in a sequence of its own.
inline double largest_golden_difference(Harness& harness, const base::Json& golden) {
  const auto expected = golden_logits(golden);
  double largest = 0;
  std::size_t at = 0;
  int sequence = 0;
  for (const base::Json& prompt : golden["prompts"]) {
    harness.add(sequence++, ids_of(prompt["ids"]), 0, true);
    for (const auto& row : harness.run())
      largest = std::max(largest, largest_difference(row, expected.at(at++)));
  }
  TW_CHECK(at == expected.size(), "every golden row is compared");
  return largest;
}

}  // namespace tw::model
