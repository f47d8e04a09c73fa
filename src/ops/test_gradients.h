// For tests: one op, its parameters and inputs, run with a tape by any number of threads.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "kernels/ref/dequantize.h"
#include "ops/ops.h"
#include "ops/test_definitions.h"
#include "ops/test_run.h"

namespace tw::ops {

/// How an op takes an input: as something computed before, as a parameter of one of three kinds, or as a
/// matrix that is not learnt.
enum class Role { kValue, kVector, kMatrix, kTable, kFrozen };

struct GradientInput {
  Role role;
  std::vector<std::int64_t> shape;
  DType frozen = DType::kF32;  ///< the type of a kFrozen one
  std::int64_t elements() const { return shape.size() == 1 ? shape[0] : shape[0] * shape[1]; }
};

/// Every adapter's scale.
constexpr float kAdapterScale = 1.5F;

/// What the op sees: values and vectors as tensors, matrices, tables, each at its input's number.
struct GradientOperands {
  Adapters adapters;
  std::vector<Tensor> tensors;
  std::vector<PackedMatrix> matrices;
  std::vector<EmbeddingTable> tables;
};

struct GradientCase {
  std::string name;
  std::vector<GradientInput> inputs;
  /// What the op computes; a loss sums all of it up, times random numbers.
  std::function<Numbers(const std::vector<Numbers>&)> definition;
  std::function<Tensor(Exec&, const GradientOperands&)> op;
  bool is_loss = false;  ///< the definition is the loss itself
  /// Of each linear layer of the op: the inputs that are its adapter's A and B; 0: it has none.
  std::vector<std::array<int, 2>> adapters = {};
  Dropout dropout = {};
  double balance = 0;  ///< Tape::Balance's weight
  /// What is minimised besides the sum of what the op computes.
  std::function<double(const std::vector<Numbers>&)> besides = {};
};

/// All inputs' gradients, one after the other, and what the forward made.
struct GradientResult {
  std::vector<std::vector<float>> gradients;
  std::vector<float> out;
};

/// Memory of an input: numbers, and for a parameter its gradient.
class GradientRunner {
 public:
  GradientRunner(const kernels::Table& table, const GradientCase& c, DType type,
                 const std::vector<std::vector<float>>& inputs)
      : table_(table), case_(c), inputs_(inputs), gradients_(inputs.size()) {
    operands_.tensors.resize(inputs.size());
    operands_.matrices.resize(inputs.size());
    operands_.tables.resize(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      gradients_[i].assign(inputs[i].size(), 0);
      bind(i, type);
    }
    for (const auto& [a, b] : c.adapters)
      low_.push_back(a == 0 ? LowRank{}
                            : LowRank{&operands_.matrices[a], &operands_.matrices[b], kAdapterScale});
    if (low_.empty()) return;
    run_ = {0, c.inputs[0].shape[0], low_.data()};
    operands_.adapters = {std::span(&run_, 1), 0};
  }

  /// `extra`: factors of a second use of each value, which makes the op add to gradients that are there; or
  /// empty.
  GradientResult run(int workers, const std::vector<float>& factors,
                     const std::vector<std::vector<float>>& extra) {
    for (auto& gradient : gradients_) gradient.assign(gradient.size(), 0);
    Trace trace;
    Tape tape(leaves_);
    tape.balance().weight = case_.balance;
    const auto out = run_on_workers(
        table_, workers, trace, [&](Exec& ex) { return step(ex, tape, factors, extra); },
        [&] { tape.clear(); });
    return {gradients_, out};
  }

 private:
  void bind(std::size_t i, DType type) {
    const GradientInput& input = case_.inputs[i];
    if (input.role == Role::kValue) return;
    Leaf leaf;
    const std::int64_t n = input.shape[0], k = input.shape.back();
    if (input.role == Role::kFrozen) {
      operands_.matrices[i] = packed(input.frozen, inputs_[i], n, k);
      return;
    }
    leaf.gradient = {DType::kF32, {n, input.shape.size() == 1 ? 1 : k}, gradients_[i].data()};
    const auto id = static_cast<std::int32_t>(leaves_.size());
    float* numbers = inputs_[i].data();
    operands_.tensors[i] = {DType::kF32, {n}, numbers, id};
    operands_.tables[i] = {DType::kF32, numbers, n, k, id};
    if (input.role == Role::kMatrix) {
      const bool sides = type == DType::kBF16 && table_.train_matmul != nullptr;
      operands_.matrices[i] = sides ? side(inputs_[i], n, k) : packed(type, inputs_[i], n, k);
      operands_.matrices[i].set_tape_id(id);
    }
    leaves_.push_back(leaf);
  }

  PackedMatrix packed(DType type, const std::vector<float>& numbers, std::int64_t n, std::int64_t k) {
    auto rows = std::make_unique<std::vector<std::byte>>(base::row_bytes(type, k) * n);
    for (std::int64_t row = 0; row < n; ++row)
      kernels::quantize_row(type, numbers.data() + row * k, rows->data() + row * base::row_bytes(type, k), k);
    const kernels::MatmulKernel& kernel = *table_.matmul[static_cast<int>(type)];
    auto panels = std::make_unique<std::vector<std::byte>>(PackedMatrix::packed_bytes(kernel, type, n, k));
    PackedMatrix matrix(kernel, type, rows->data(), n, k, *panels);
    matrix.pack_panels(0, matrix.panels());
    stored_.push_back(std::move(rows));
    stored_.push_back(std::move(panels));
    return matrix;
  }

  /// As a side of TrainMatmul.
  PackedMatrix side(const std::vector<float>& numbers, std::int64_t n, std::int64_t k) {
    const kernels::TrainMatmul& matmul = *table_.train_matmul;
    const std::size_t bytes = PackedMatrix::packed_bytes(matmul.kernel, DType::kBF16, n, k);
    const std::span<Line> lines = *sides_.emplace_back(std::make_unique<std::vector<Line>>(bytes / 64));
    matmul.make_right({numbers.data(), k, n, k, false, lines.data(), 0, n});
    auto* memory = reinterpret_cast<std::byte*>(lines.data());
    return {matmul.kernel, DType::kBF16, memory, n, k, {memory, bytes}};
  }

  struct alignas(64) Line {
    std::array<std::byte, 64> bytes;
  };
  struct Copy {
    const float* from;
    float* to;
    std::int64_t count;
    bool first;  ///< of the step's roots
  };
  /// Behind every use of a value: takes its gradient out of the tape.
  static void take_gradient(const Backward& b, const Copy& c) {
    if (b.ex.tracing()) return;
    b.ex.slice(c.count, 1, [&](std::int64_t begin, std::int64_t end) {
      std::copy(b.d_out().f32() + begin, b.d_out().f32() + end, c.to + begin);
    });
    b.ex.barrier();
  }
  /// A loss that is the sum of a value times `from`.
  static void root(const Backward& b, const Copy& c) {
    if (b.ex.tracing()) return;
    b.ex.slice(c.count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        b.d_in().f32()[i] = c.from[i] + (b.adds() ? b.d_in().f32()[i] : 0);
    });
    b.ex.barrier();
  }

  Tensor step(Exec& ex, Tape& tape, const std::vector<float>& factors,
              const std::vector<std::vector<float>>& extra) {
    ex.train(&tape, nullptr, case_.dropout);
    GradientOperands operands = operands_;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (case_.inputs[i].role != Role::kValue) continue;
      const auto& shape = case_.inputs[i].shape;
      operands.tensors[i] = ex.output({shape[0], shape[1]});
      if (ex.worker() != 0) continue;
      if (!ex.tracing()) std::copy(inputs_[i].begin(), inputs_[i].end(), operands.tensors[i].f32());
      tape.record<take_gradient>(Copy{nullptr, gradients_[i].data(), std::ssize(inputs_[i]), false},
                                 {operands.tensors[i]}, {});
    }
    if (!ex.tracing()) ex.barrier();
    const Tensor out = case_.op(ex, operands);
    if (ex.worker() == 0) {
      if (!case_.is_loss)
        tape.record<root>(Copy{factors.data(), nullptr, std::ssize(factors), true}, {}, {out});
      for (std::size_t i = 0; i < extra.size(); ++i) {
        if (case_.inputs[i].role == Role::kValue)
          tape.record<root>(Copy{extra[i].data(), nullptr, std::ssize(extra[i]), false}, {},
                            {operands.tensors[i]});
      }
    }
    tape.backward(ex);
    return out;
  }

  const kernels::Table& table_;
  const GradientCase& case_;
  std::vector<std::vector<float>> inputs_, gradients_;
  std::vector<std::unique_ptr<std::vector<std::byte>>> stored_;
  std::vector<std::unique_ptr<std::vector<Line>>> sides_;
  std::vector<Leaf> leaves_;
  std::vector<LowRank> low_;
  AdapterRun run_{};
  GradientOperands operands_;
};

}  // namespace tw::ops
