// Distillation (arXiv 1503.02531): a row's loss is (1 - t) * label's + t * T² * cross-entropy of the
// teacher's probabilities p and softmax(logits / T). Its gradient by the logits is that of the label times 1
// - t, and t * T * (softmax(logits / T) - p), which the label's kernel gives too, but for p.
#include "ops/distillation.h"

#include <cmath>

#include "ops/logits.h"

namespace tw::ops {
namespace {

/// One row of logits, and where its parts are.
void distil_row(const Exec& ex, const LossRows& rows, std::int64_t row, std::int64_t vocab, float* logits,
                float* heated, float* loss) {
  const TeacherRows& t = rows.teacher;
  const std::int32_t* target = rows.targets.data() + row;
  const float* weight = rows.weights.data() + row;
  for (std::int64_t i = 0; i < vocab; ++i) heated[i] = logits[i] / t.temperature;
  double expected = 0, all = 0;
  for (std::int64_t i = row * t.top; i < (row + 1) * t.top; ++i) {
    expected += static_cast<double>(t.probabilities[i]) * static_cast<double>(heated[t.ids[i]]);
    all += t.probabilities[i];
  }
  const float at_target = heated[*target], scale = rows.scale * t.weight * t.temperature;
  float against_target = 0;
  ex.table().train.cross_entropy({heated, target, weight, &against_target, 0, 1, vocab, scale, 0});
  const double log_sum = static_cast<double>(against_target) + static_cast<double>(at_target);
  t.losses[row] = static_cast<float>((all * log_sum - expected) * t.temperature * t.temperature);
  heated[*target] += *weight * scale;
  for (std::int64_t i = row * t.top; i < (row + 1) * t.top; ++i)
    heated[t.ids[i]] -= *weight * scale * t.probabilities[i];
  ex.table().train.cross_entropy(
      {logits, target, weight, loss, 0, 1, vocab, rows.scale * (1 - t.weight), rows.z_loss});
  ex.table().train.add({heated, logits, 0, vocab});
}

/// A logit and its token: a heap of these has the least likely in front.
struct Candidate {
  float logit;
  std::int32_t id;
  bool operator<(const Candidate& other) const {
    return logit != other.logit ? logit > other.logit : id < other.id;
  }
};

void choose_top(const float* logits, std::int64_t vocab, float temperature, Candidate* best, std::int64_t top,
                std::int32_t* ids, float* probabilities) {
  for (std::int64_t i = 0; i < vocab; ++i) {
    const Candidate next{logits[i], static_cast<std::int32_t>(i)};
    if (i < top) {
      best[i] = next;
      std::push_heap(best, best + i + 1);
    } else if (next < best[0]) {
      std::pop_heap(best, best + top);
      best[top - 1] = next;
      std::push_heap(best, best + top);
    }
  }
  std::sort_heap(best, best + top);
  double sum = 0;
  for (std::int64_t i = 0; i < top; ++i) {
    ids[i] = best[i].id;
    probabilities[i] = std::exp((best[i].logit - best[0].logit) / temperature);
    sum += probabilities[i];
  }
  for (std::int64_t i = 0; i < top; ++i) probabilities[i] = static_cast<float>(probabilities[i] / sum);
}

}  // namespace

void distil(Exec& ex, const LossRows& rows, std::int64_t begin, Tensor logits, float* losses) {
  const std::int64_t vocab = logits.row_stride();
  auto* heated = static_cast<float*>(ex.scratch(vocab * sizeof(float)));
  if (ex.tracing()) return;
  ex.slice(logits.rows(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      distil_row(ex, rows, begin + i, vocab, logits.f32() + i * vocab, heated, losses + begin + i);
  });
}

void linear_top(Exec& ex, Tensor x, const PackedMatrix& weight, const TopRows& rows) {
  const std::int64_t vocab = weight.n(), top = rows.top;
  TW_CHECK(top >= 1 && top <= vocab, "linear_top: as many tokens as the vocabulary has");
  TW_CHECK(ex.tracing() ||
               (std::ssize(rows.ids) == x.rows() * top && rows.ids.size() == rows.probabilities.size()),
           "linear_top: each row has its place");
  if (ex.tracing()) ex.record(linear_cost("linear_top", x.rows(), weight));
  auto* best = static_cast<Candidate*>(ex.scratch(top * sizeof(Candidate)));
  for_logits(ex, x, weight, [&](std::int64_t begin, Tensor logits) {
    if (ex.tracing()) return;
    ex.slice(logits.rows(), 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        const std::int64_t to = (begin + i) * top;
        choose_top(logits.f32() + i * vocab, vocab, rows.temperature, best, top, rows.ids.data() + to,
                   rows.probabilities.data() + to);
      }
    });
    ex.barrier();
  });
}

}  // namespace tw::ops
