// A LoRA adapter's folder from anyone, beside a tiny model: it loads, with numbers that are finite, or one
// line names the file and what is wrong. The input is adapter_config.json, a zero byte, and
// adapter_model.safetensors.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "model/adapter.h"
#include "model/loaded_model.h"

namespace {

using namespace tw;

const model::LoadedModel& tiny_model() {
  static const auto loaded =
      model::LoadedModel::load(TW_SOURCE_DIR "/tests/golden/families/llama3", {.isa = "ref", .progress = {}});
  TW_CHECK(loaded.ok(), "the tiny model is there");
  return **loaded;
}

void check_error(const base::Error& error) {
  TW_CHECK(!error.message.empty() && error.where.starts_with("fuzz"), "an error names the file");
  for (const char c : error.text())
    TW_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F, "an error is one line");
  TW_CHECK(error.text().size() < 2000, "and no long one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = std::min(input.find('\0'), size);
  const std::string_view tail = input.substr(std::min(cut + 1, size));
  std::vector<std::uint64_t> aligned(tail.size() / 8 + 1);
  std::memcpy(aligned.data(), tail.data(), tail.size());
  auto weights =
      io::SafetensorsFile::parse(std::as_bytes(std::span(aligned)).first(tail.size()), "fuzz.safetensors");
  if (!weights.ok()) {
    check_error(weights.error());
    weights =
        io::SafetensorsFile::parse(std::as_bytes(std::span("\2\0\0\0\0\0\0\0{}", 10)), "fuzz.safetensors");
    TW_CHECK(weights.ok(), "a file without tensors");
  }
  const auto adapter = model::Adapter::parse(input.substr(0, cut), "fuzz.json", *weights, tiny_model());
  if (!adapter.ok()) {
    check_error(adapter.error());
    return 0;
  }
  TW_CHECK((*adapter)->content_hash() != 0 && !(*adapter)->params().params().empty(), "it adapts something");
  for (const model::Param& param : (*adapter)->params().params()) {
    const auto* numbers = static_cast<const float*>(param.matrix.source());
    for (std::int64_t i = 0; i < param.elements(); ++i)
      TW_CHECK(std::isfinite(numbers[i]), "numbers are finite");
  }
  return 0;
}
