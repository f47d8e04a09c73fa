#include "ops/routing.h"

#include <cmath>

namespace tw::ops {
namespace {

template <typename T>
T* room(Exec& ex, std::int64_t count) {
  return reinterpret_cast<T*>(ex.arena().allocate(count * sizeof(T)));
}

/// Whatever the logits are, even NaN, these are different experts.
void choose(const float* logits, std::int64_t experts, std::int64_t chosen, std::int32_t* best) {
  std::int64_t found = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    std::int64_t at = found;
    while (at > 0 && logits[best[at - 1]] < logits[e]) --at;
    if (at == chosen) continue;
    if (found < chosen) ++found;
    for (std::int64_t i = found - 1; i > at; --i) best[i] = best[i - 1];
    best[at] = static_cast<std::int32_t>(e);
  }
}

/// Softmax's numbers of the chosen, the likeliest of which is the first.
void weigh(const float* logits, std::int64_t experts, const Routing& r, bool normed, const std::int32_t* best,
           float* weights) {
  const float largest = logits[best[0]];
  double sum = 0;
  for (std::int64_t i = 0; i < r.chosen; ++i) {
    weights[i] = std::exp(logits[best[i]] - largest);
    sum += static_cast<double>(weights[i]);
  }
  if (!normed) {
    sum = 0;
    for (std::int64_t e = 0; e < experts; ++e) sum += static_cast<double>(std::exp(logits[e] - largest));
  }
  for (std::int64_t i = 0; i < r.chosen; ++i)
    weights[i] = static_cast<float>(static_cast<double>(weights[i]) / sum);
}

/// Turns away who comes to an expert that is full: the likeliest of all rows come first, then the second.
void turn_away(const Routing& r) {
  std::fill(r.wanted, r.wanted + r.experts, 0);
  for (std::int64_t choice = 0; choice < r.chosen; ++choice) {
    for (std::int64_t at = choice; at < r.choices(); at += r.chosen)
      r.slot[at] = r.wanted[r.expert[at]]++ < r.most ? 0 : -1;
  }
}

/// Counts, and then deals the rows out in their order.
void put_in_order(const Routing& r, std::int64_t generated) {
  const auto group_of = [&](std::int64_t at) {
    return 2 * r.expert[at] + (at / r.chosen >= generated ? 1 : 0);
  };
  const std::int64_t groups = 2 * r.experts, choices = r.choices();
  std::fill(r.first, r.first + groups + 1, 0);
  const auto stays = [&](std::int64_t at) { return r.wanted == nullptr || r.slot[at] >= 0; };
  for (std::int64_t at = 0; at < choices; ++at) {
    if (stays(at)) ++r.first[group_of(at)];
  }
  *r.used = 0;
  std::int32_t begin = 0;
  for (std::int64_t group = 0; group <= groups; ++group) {
    const std::int32_t count = r.first[group];
    if (count > 0) ++*r.used;
    r.first[group] = begin;
    begin += count;
  }
  for (std::int64_t at = 0; at < choices; ++at) {
    if (!stays(at)) continue;
    const std::int32_t slot = r.first[group_of(at)]++;
    r.slot[at] = slot;
    r.row[slot] = static_cast<std::int32_t>(at / r.chosen);
  }
  // Each is now where the next one begins.
  for (std::int64_t group = groups; group > 0; --group) r.first[group] = r.first[group - 1];
  r.first[0] = 0;
}

}  // namespace

Routing route(Exec& ex, Tensor logits, std::int64_t chosen, bool normed, std::int64_t generated,
              std::int64_t most) {
  const std::int64_t experts = logits.row_stride();
  TW_CHECK(chosen >= 1 && chosen <= experts, "a row takes some of its experts");
  Routing r{logits.rows(), experts, chosen, most};
  r.expert = room<std::int32_t>(ex, r.choices());
  r.weight = room<float>(ex, r.choices());
  r.slot = room<std::int32_t>(ex, r.choices());
  r.row = room<std::int32_t>(ex, r.slots());
  r.first = room<std::int32_t>(ex, 2 * experts + 1);
  r.used = room<std::int32_t>(ex, 1);
  if (most > 0) r.wanted = room<std::int32_t>(ex, experts);
  if (ex.tracing()) return r;
  ex.slice(r.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = logits.f32() + t * experts;
      choose(row, experts, chosen, r.expert + t * chosen);
      weigh(row, experts, r, normed, r.expert + t * chosen, r.weight + t * chosen);
    }
  });
  ex.barrier();
  if (ex.worker() == 0) {
    if (most > 0) turn_away(r);
    put_in_order(r, generated);
  }
  ex.barrier();
  return r;
}

}  // namespace tw::ops
