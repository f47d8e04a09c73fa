// The filters by topic, gathered by find_filter().
#pragma once

#include <span>

#include "text/jinja_filters.h"

namespace tw::text::jinja {

std::span<const NamedFilter> json_filters();
std::span<const NamedFilter> text_filters();
std::span<const NamedFilter> number_filters();
std::span<const NamedFilter> sequence_filters();  ///< those that take sequences apart and put them together
std::span<const NamedFilter> select_filters();    ///< map, select, sort: those that look at each item

}  // namespace tw::text::jinja
