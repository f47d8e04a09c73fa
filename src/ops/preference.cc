// Direct preference optimization (arXiv 2305.18290): the loss of a pair is -log(sigmoid(h)), h = beta * ((log
// p
// - log p_reference) of the chosen answer - the same of the rejected one). log p is minus the sum of an
// answer's cross-entropies, so that the gradient is that of cross-entropies whose rows weigh beta *
// sigmoid(-h), and minus that where the answer was rejected. The weights are known when all rows are: logits
// are made twice.
#include <cmath>

#include "ops/logits.h"

namespace tw::ops {
namespace {

struct SavedPreference {
  Tensor x, row_losses, row_weights;
  const PackedMatrix* weight;
  std::span<const std::int32_t> targets;
  float scale;
};

/// With `weights` the logits become gradients.
void run_rows(Exec& ex, const SavedPreference& s, const float* weights, std::int64_t begin, Tensor logits) {
  if (ex.tracing()) return;
  ex.slice(logits.rows(), 1, [&](std::int64_t first, std::int64_t last) {
    ex.table().train.cross_entropy(
        {logits.f32(), s.targets.data() + begin, weights == nullptr ? nullptr : weights + begin,
         s.row_losses.f32() + begin, first, last, logits.row_stride(), s.scale, 0});
  });
  ex.barrier();
}

void preference_backward(const Backward& b, const SavedPreference& s) {
  for_logits(b.ex, s.x, *s.weight, [&](std::int64_t begin, Tensor logits) {
    run_rows(b.ex, s, s.row_weights.f32(), begin, logits);
    logit_gradients(b, s.x, *s.weight, begin, logits);
  });
}

/// beta * log(p / p_reference) of a document.
double reward(const PreferenceRows& rows, const float* losses, std::int64_t document) {
  double sum = 0;
  for (std::int32_t i = rows.offsets[document]; i < rows.offsets[document + 1]; ++i) {
    if (rows.weights[i] > 0)
      sum += static_cast<double>(rows.weights[i]) *
             (static_cast<double>(rows.reference[i]) - static_cast<double>(losses[i]));
  }
  return static_cast<double>(rows.beta) * sum;
}

void compare(const PreferenceRows& rows, std::int64_t pair, const SavedPreference& s, float* losses) {
  const double chosen = reward(rows, s.row_losses.f32(), 2 * pair),
               rejected = reward(rows, s.row_losses.f32(), 2 * pair + 1), h = chosen - rejected;
  rows.rewards[2 * pair] = static_cast<float>(chosen);
  rows.rewards[2 * pair + 1] = static_cast<float>(rejected);
  losses[pair] = static_cast<float>(std::log1p(std::exp(-std::abs(h))) + std::max(-h, 0.0));
  const auto pull = static_cast<float>(static_cast<double>(rows.beta) / (1 + std::exp(h)));
  for (std::int32_t i = rows.offsets[2 * pair]; i < rows.offsets[2 * pair + 2]; ++i)
    s.row_weights.f32()[i] = rows.weights[i] * (i < rows.offsets[2 * pair + 1] ? pull : -pull);
}

}  // namespace

Tensor linear_preference(Exec& ex, Tensor x, const PackedMatrix& weight, const PreferenceRows& rows) {
  const std::int64_t pairs = (std::ssize(rows.offsets) - 1) / 2;
  TW_CHECK(ex.tracing() || (pairs >= 1 && rows.offsets[2 * pairs] == x.rows() &&
                            std::ssize(rows.rewards) == 2 * pairs && std::ssize(rows.reference) == x.rows()),
           "each row is of a pair, and the reference has said something of it");
  Tensor losses = ex.temporary({x.rows()});  // however many pairs they are: one place in the arena
  losses.shape = {std::max<std::int64_t>(pairs, 1)};
  const SavedPreference saved{
      x, ex.temporary({x.rows()}), ex.temporary({x.rows()}), &weight, rows.targets, rows.scale};
  if (ex.tracing()) ex.record(linear_cost("linear_preference", x.rows(), weight));
  for_logits(ex, x, weight,
             [&](std::int64_t begin, Tensor logits) { run_rows(ex, saved, nullptr, begin, logits); });
  if (!ex.tracing()) {
    ex.slice(pairs, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t pair = begin; pair < end; ++pair) compare(rows, pair, saved, losses.f32());
    });
    ex.barrier();
  }
  if (Tape* tape = ex.recording()) tape->record<preference_backward>(saved, {}, {x});
  return losses;
}

}  // namespace tw::ops
