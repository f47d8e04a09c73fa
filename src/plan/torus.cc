#include "plan/torus.h"

#include <algorithm>
#include <charconv>

namespace tw::plan {

std::int64_t Torus::places() const {
  std::int64_t product = 1;
  for (const int size : sizes) product *= size;
  return product;
}

std::string Torus::text() const {
  return fmt::format("{}", fmt::join(sizes, "x"));
}

double Torus::bisection_links() const {
  const int longest = sizes.empty() ? 1 : *std::max_element(sizes.begin(), sizes.end());
  return longest > 1 ? 2.0 * static_cast<double>(places()) / longest : 0;
}

int Torus::diameter() const {
  int sum = 0;
  for (const int size : sizes) sum += size / 2;
  return sum;
}

base::Result<Torus> parse_torus(std::string_view text) {
  Torus torus;
  std::size_t at = 0;
  while (at <= text.size() && torus.sizes.size() < 6) {
    const std::size_t end = std::min(text.find('x', at), text.size());
    int size = 0;
    const auto [stop, problem] = std::from_chars(text.data() + at, text.data() + end, size);
    if (problem != std::errc() || stop != text.data() + end || size < 1 || size > 1 << 14) break;
    torus.sizes.push_back(size);
    if (torus.places() > 1 << 20) break;
    at = end + 1;
  }
  if (at == text.size() + 1) return torus;
  return base::error(base::Code::kInvalidArgument,
                     "\"{}\" is no torus of at most 1,048,576 places: write sizes such as 16x16x16", text);
}

namespace {

/// Factors of `left`, none smaller than `least`, with the smallest largest one.
void even_factors(std::int64_t left, int dimensions, std::int64_t least, std::vector<int>& chosen,
                  std::vector<int>& best) {
  if (dimensions == 1) {
    if (left < least || (!best.empty() && left >= best.back())) return;
    best = chosen;
    best.push_back(static_cast<int>(left));
    return;
  }
  for (std::int64_t f = least; f * f <= left; ++f) {
    if (left % f != 0) continue;
    chosen.push_back(static_cast<int>(f));
    even_factors(left / f, dimensions - 1, f, chosen, best);
    chosen.pop_back();
  }
}

}  // namespace

std::optional<Torus> even_torus(std::int64_t n, int dimensions, int block) {
  std::int64_t places = 1;
  for (int i = 0; i < dimensions; ++i) places *= block;
  if (n < 1 || n % places != 0) return {};
  std::vector<int> chosen, best;
  even_factors(n / places, dimensions, 1, chosen, best);
  if (best.empty()) return {};
  for (int& size : best) size *= block;
  return Torus{best};
}

Wiring torus_wiring(const Torus& torus, double rate) {
  Wiring w;
  const auto n = static_cast<int>(torus.places());
  for (int i = 0; i < n; ++i) w.add(0, 1);
  int stride = 1;
  for (const int size : torus.sizes) {
    for (int i = 0; size > 1 && i < n; ++i) {
      const int place = i / stride % size;
      w.connect(i, i + (place + 1 < size ? stride : -(size - 1) * stride), 1, rate);
    }
    stride *= size;
  }
  return w;
}

}  // namespace tw::plan
