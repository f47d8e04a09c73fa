// The gradients of losses against finite differences of their definitions.
#include <numeric>

#include "ops/test_gradient_check.h"

namespace tw::ops {
namespace {

constexpr std::int64_t kWidth = 24;

/// Targets and weights of kRows rows, of which some are not learnt from.
struct Labels {
  std::vector<std::int32_t> targets;
  std::vector<float> weights;
  explicit Labels(std::int64_t vocab) {
    for (std::int32_t t = 0; t < kRows; ++t) {
      targets.push_back(static_cast<std::int32_t>((t * 7) % vocab));
      weights.push_back(t % 5 == 0 ? 0.0F : 1.0F / static_cast<float>(1 + t % 3));
    }
  }
};

GradientCase loss_case(std::int64_t vocab, float z_loss, bool rounded = false) {
  auto labels = std::make_shared<Labels>(vocab);
  GradientCase c{
      "cross_entropy_" + std::to_string(vocab) + (z_loss > 0 ? "_z" : ""),
      {{Role::kValue, {kRows, kWidth}}, {Role::kMatrix, {vocab, kWidth}}},
      [=](auto& in) {
        const Numbers logits = times(in[0], in[1], kWidth), sums = log_sums(logits, vocab);
        Numbers loss;
        for (std::int64_t t = 0; t < kRows; ++t) {
          const double each = sums[t] - logits[t * vocab + labels->targets[t]] + z_loss * sums[t] * sums[t];
          loss.push_back(0.25 * labels->weights[t] * each);
        }
        return loss;
      },
      [=](Exec& ex, auto& in) {
        return linear_cross_entropy(ex, in.tensors[0], in.matrices[1],
                                    {labels->targets, labels->weights, 0.25F, z_loss, {}, rounded});
      }};
  c.is_loss = true;
  return c;
}

GradientCase frozen_loss_case(std::int64_t vocab, DType type, float z_loss, bool rounded) {
  GradientCase c = loss_case(vocab, z_loss, rounded);
  c.name += "_frozen_" + std::string(base::dtype_name(type));
  c.inputs[1].role = Role::kFrozen;
  c.inputs[1].frozen = type;
  return c;
}

/// The teacher's likeliest tokens of each row, in no order: their probabilities fall off by halves.
struct Teacher {
  std::vector<std::int32_t> ids;
  std::vector<float> probabilities, losses;
  Teacher(std::int64_t vocab, std::int64_t top) : losses(kRows) {
    const double all = 2 - std::pow(0.5, static_cast<double>(top - 1));
    for (std::int64_t t = 0; t < kRows; ++t) {
      for (std::int64_t i = 0; i < top; ++i) {
        ids.push_back(static_cast<std::int32_t>((t * 5 + i) % vocab));  // sometimes the label itself
        probabilities.push_back(static_cast<float>(std::pow(0.5, static_cast<double>(i)) / all));
      }
    }
  }
};

GradientCase distillation_case(std::int64_t vocab, std::int64_t top, float share, float temperature,
                               float z_loss) {
  auto labels = std::make_shared<Labels>(vocab);
  auto teacher = std::make_shared<Teacher>(vocab, top);
  GradientCase c{"distillation_" + std::to_string(top) + "_of_" + std::to_string(vocab),
                 {{Role::kValue, {kRows, kWidth}}, {Role::kMatrix, {vocab, kWidth}}},
                 [=](auto& in) {
                   const Numbers logits = times(in[0], in[1], kWidth), sums = log_sums(logits, vocab);
                   Numbers heated = logits, loss;
                   for (double& logit : heated) logit /= temperature;
                   const Numbers heated_sums = log_sums(heated, vocab);
                   for (std::int64_t t = 0; t < kRows; ++t) {
                     const double label =
                         sums[t] - logits[t * vocab + labels->targets[t]] + z_loss * sums[t] * sums[t];
                     double taught = 0;
                     for (std::int64_t i = t * top; i < (t + 1) * top; ++i)
                       taught += double{teacher->probabilities[i]} *
                                 (heated_sums[t] - heated[t * vocab + teacher->ids[i]]);
                     taught *= double{temperature} * temperature;
                     loss.push_back(0.25 * labels->weights[t] * ((1 - share) * label + share * taught));
                   }
                   return loss;
                 },
                 [=](Exec& ex, auto& in) {
                   const TeacherRows rows{teacher->ids, teacher->probabilities, top, share,
                                          temperature,  teacher->losses};
                   return linear_cross_entropy(ex, in.tensors[0], in.matrices[1],
                                               {labels->targets, labels->weights, 0.25F, z_loss, rows});
                 }};
  c.is_loss = true;
  return c;
}

/// Two pairs of documents of 9, 12, 6 and 10 rows, each half a prompt.
struct Pairs {
  std::vector<std::int32_t> targets, offsets = {0, 9, 21, 27, kRows};
  std::vector<float> weights, reference, rewards;
  explicit Pairs(std::int64_t vocab) : rewards(4) {
    for (std::int32_t t = 0, document = 0; t < kRows; ++t) {
      if (t == offsets[document + 1]) ++document;
      targets.push_back(static_cast<std::int32_t>((t * 7) % vocab));
      weights.push_back(2 * t >= offsets[document] + offsets[document + 1] ? 1.0F : 0.0F);
      reference.push_back(4 + 0.1F * static_cast<float>(t % 9));
    }
  }
};

GradientCase preference_case(std::int64_t vocab, float beta) {
  auto pairs = std::make_shared<Pairs>(vocab);
  GradientCase c{"preference_" + std::to_string(vocab),
                 {{Role::kValue, {kRows, kWidth}}, {Role::kMatrix, {vocab, kWidth}}},
                 [=](auto& in) {
                   const Numbers logits = times(in[0], in[1], kWidth), sums = log_sums(logits, vocab);
                   Numbers ratios(4), loss;
                   for (std::int64_t t = 0, document = 0; t < kRows; ++t) {
                     if (t == pairs->offsets[document + 1]) ++document;
                     const double log_p = logits[t * vocab + pairs->targets[t]] - sums[t];
                     ratios[document] += pairs->weights[t] * (log_p + double{pairs->reference[t]});
                   }
                   for (const int pair : {0, 1}) {
                     const double h = double{beta} * (ratios[2 * pair] - ratios[2 * pair + 1]);
                     loss.push_back(-0.5 * std::log(1 / (1 + std::exp(-h))));
                   }
                   return loss;
                 },
                 [=](Exec& ex, auto& in) {
                   return linear_preference(ex, in.tensors[0], in.matrices[1],
                                            {pairs->targets, pairs->weights, pairs->offsets, pairs->reference,
                                             beta, 0.5F, pairs->rewards});
                 }};
  c.is_loss = true;
  return c;
}

class LossGradients : public GradientCheck {};

TEST_P(LossGradients, AreThoseOfFiniteDifferences) {
  check_types(loss_case(50, 0));
  check_types(loss_case(33, 0.1F));
  check_types(loss_case(96, 0.1F));  // kept rounded, where sets have tiles
  check_types(frozen_loss_case(50, DType::kF32, 0, true));
  check_types(frozen_loss_case(96, DType::kBF16, 0.1F, true));  // kept rounded, where sets have tiles
  check_types(frozen_loss_case(1120, DType::kF16, 0, true));    // whose rows are taken in parts there
  check_types(frozen_loss_case(96, DType::kBF16, 0.1F, false));
  check_types(distillation_case(50, 1, 0.9F, 1, 0));
  check_types(distillation_case(33, 4, 0.5F, 2, 0.1F));
  check_types(distillation_case(20, 20, 1, 1.5F, 0));
  check_types(preference_case(50, 0.1F));
  check_types(preference_case(33, 1));
}

/// Of ten rows, by two workers, against all logits in order.
TEST_P(LossGradients, TopIsTheLikeliestOfAllLogits) {
  constexpr std::int64_t kSome = 10, kVocab = 60;
  constexpr float kTemperature = 1.5F;
  std::vector<float> x = numbers(kSome * kWidth, 3, false), w = numbers(kVocab * kWidth, 4, false);
  std::copy_n(w.begin(), kWidth, w.begin() + 7 * kWidth);  // the same logit twice: the first token is meant
  const Numbers logits = times(doubles(x), doubles(w), kWidth);
  const kernels::MatmulKernel& kernel = *table().matmul[static_cast<int>(DType::kF32)];
  std::vector<std::byte> panels(PackedMatrix::packed_bytes(kernel, DType::kF32, kVocab, kWidth));
  PackedMatrix matrix(kernel, DType::kF32, w.data(), kVocab, kWidth, panels);
  matrix.pack_panels(0, matrix.panels());
  for (const std::int64_t top : {std::int64_t{1}, std::int64_t{5}, kVocab}) {
    std::vector<std::int32_t> ids(kSome * top);
    std::vector<float> probabilities(kSome * top);
    Trace trace;
    run_on_workers(
        table(), 2, trace,
        [&](Exec& ex) {
          const Tensor in{DType::kF32, {kSome, kWidth}, x.data()};
          linear_top(ex, in, matrix, {ids, probabilities, top, kTemperature});
          return in;
        },
        [] {});
    for (std::int64_t row = 0; row < kSome; ++row) {
      std::vector<std::int32_t> order(kVocab);
      std::iota(order.begin(), order.end(), 0);
      const double* mine = &logits[row * kVocab];
      std::sort(order.begin(), order.end(),
                [&](auto a, auto b) { return mine[a] != mine[b] ? mine[a] > mine[b] : a < b; });
      double sum = 0;
      for (std::int64_t i = 0; i < top; ++i) sum += std::exp(mine[order[i]] / kTemperature);
      for (std::int64_t i = 0; i < top; ++i) {
        EXPECT_EQ(ids[row * top + i], order[i]) << "row " << row << ", place " << i;
        EXPECT_NEAR(probabilities[row * top + i], std::exp(mine[order[i]] / kTemperature) / sum, 1e-5);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, LossGradients,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
