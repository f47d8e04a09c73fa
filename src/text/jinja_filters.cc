#include "text/jinja_filters.h"

#include <algorithm>
#include <array>

#include "text/jinja_filter_tables.h"

namespace tw::text::jinja {

Filter find_filter(std::string_view name) {
  for (const auto table : {text_filters, json_filters, sequence_filters, select_filters, number_filters}) {
    const std::span<const NamedFilter> filters = table();
    const auto at =
        std::find_if(filters.begin(), filters.end(), [&](const NamedFilter& f) { return f.name == name; });
    if (at != filters.end()) return at->filter;
  }
  return nullptr;
}

}  // namespace tw::text::jinja
