// A stable sort whose order may fail, as comparing values of a template can.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "base/result.h"

namespace tw::text::jinja {

/// Merge sort. `less(a, b)` gives a Result<bool>; even if it contradicts itself (NaN), nothing is lost or
/// read twice. After a failure the items are in no usable state.
template <typename T, typename Less>
base::Status merge_sort(std::vector<T>& items, Less less) {
  const std::size_t size = items.size();
  for (std::size_t width = 1; width < size; width *= 2) {
    std::vector<T> merged;
    merged.reserve(size);
    for (std::size_t start = 0; start < size; start += 2 * width) {
      std::size_t a = start;
      std::size_t b = std::min(start + width, size);
      const std::size_t a_end = b;
      const std::size_t b_end = std::min(start + 2 * width, size);
      while (a < a_end || b < b_end) {
        bool take_b = a == a_end;
        if (!take_b && b < b_end) {
          TW_ASSIGN_OR_RETURN(take_b, less(items[b], items[a]));
        }
        merged.push_back(std::move(items[take_b ? b++ : a++]));
      }
    }
    items = std::move(merged);
  }
  return base::Ok{};
}

}  // namespace tw::text::jinja
