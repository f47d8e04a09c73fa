#include "plan/shipped.h"

#include "base/check.h"

namespace tw::plan {

std::string_view shipped(std::string_view name) {
  for (const ShippedFile& file : shipped_files()) {
    if (file.name == name) return file.text;
  }
  TW_CHECK(false, "a data file is not compiled in");
  return {};
}

}  // namespace tw::plan
