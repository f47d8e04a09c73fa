// The data files of data/planner, compiled into the program: found from any directory.
#pragma once

#include <span>
#include <string_view>

namespace tw::plan {

struct ShippedFile {
  std::string_view name;  ///< as in data/planner, such as "accelerators.csv"
  std::string_view text;
};

std::span<const ShippedFile> shipped_files();

/// REQUIRES: there is such a file.
std::string_view shipped(std::string_view name);

}  // namespace tw::plan
