#include "plan/calibrate_train.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "model/batch.h"
#include "model/trainable.h"
#include "plan/random_floats.h"

namespace tw::plan {
namespace {

using base::DType;
using ops::Tensor;

/// What a loss would hand back: backward begins with it.
struct Given {
  const float* gradient;
  std::int64_t count;
};
void hand_back(const ops::Backward& b, const Given& given) {
  if (b.ex.tracing()) return;
  b.ex.slice(given.count, 64, [&](std::int64_t begin, std::int64_t end) {
    std::copy(given.gradient + begin, given.gradient + end, b.d_in().f32() + begin);
  });
  b.ex.barrier();
}

/// An input of an op that is learnt through: numbers of our own with the number of a value.
Tensor value_of(ops::Exec& ex, float* numbers, std::int64_t rows, std::int64_t width) {
  Tensor x = ex.output({rows, width});
  x.data = numbers;
  return x;
}

/// Numbers that take turns: a step's activations and their gradients are far more than a cache holds.
class Pool {
 public:
  explicit Pool(std::size_t bytes) : numbers_(random_floats(bytes / sizeof(float))) {}
  float* at(std::int64_t count, std::int64_t turn) {
    return numbers_.data() + turn % (std::ssize(numbers_) / count) * count;
  }

 private:
  std::vector<float> numbers_;
};

class TrainCalibration {
 public:
  TrainCalibration(OpBench& bench, bool quick, MachineCurves& out)
      : bench_(bench),
        quick_(quick),
        out_(out),
        type_(train_type(bench.table())),
        pool_(std::size_t{quick ? 1U : 64U} << 20) {}

  base::Status run() {
    for (const auto& [n, k] : matrices()) {
      for (const std::int64_t rows : rows_of_batches()) TW_RETURN_IF_ERROR(product(n, k, rows));
      TW_RETURN_IF_ERROR(optimizer(n, k));
      constexpr std::size_t kMost = 8;  // of which all are in memory
      if (waiting_.size() >= kMost) TW_RETURN_IF_ERROR(time_waiting());
    }
    // All of a model's parameters with their moments are far more than a cache holds.
    if (!quick_) TW_RETURN_IF_ERROR(optimizer(3072, 3072));
    TW_RETURN_IF_ERROR(time_waiting());
    for (const std::int64_t d : quick_ ? std::vector<std::int64_t>{32} : std::vector<std::int64_t>{32, 64}) {
      for (const std::int64_t length :
           quick_ ? std::vector<std::int64_t>{64} : std::vector<std::int64_t>{64, 256, 1024})
        TW_RETURN_IF_ERROR(attention(d, length));
    }
    for (const std::int64_t rows : rows_of_batches()) {
      for (const std::int64_t width :
           quick_ ? std::vector<std::int64_t>{64} : std::vector<std::int64_t>{64, 512, 2048})
        TW_RETURN_IF_ERROR(by_rows(rows, width));
    }
    return time_waiting();
  }

 private:
  using Matrices = std::vector<std::pair<std::int64_t, std::int64_t>>;
  Matrices matrices() const {
    if (quick_) return {{64, 64}, {256, 256}};
    return {{64, 64}, {192, 64}, {256, 256}, {512, 512}, {1024, 1024}, {2816, 1024}};
  }
  std::vector<std::int64_t> rows_of_batches() const {
    return quick_ ? std::vector<std::int64_t>{64} : std::vector<std::int64_t>{64, 256, 1024};
  }
  void add(Measured kind, double rows, double size, double place, double seconds) {
    const std::string type(kind == Measured::kTrainProduct ? base::dtype_name(type_) : "");
    out_.add({kind, type, bench_.threads(), rows, size, place, std::max(seconds, 1e-9)});
  }

  /// Times all that wait, in turns.
  base::Status time_waiting() { return bench_.time(std::exchange(waiting_, {})); }
  // They wait: for time_waiting().
  base::Status product(std::int64_t n, std::int64_t k, std::int64_t rows);
  base::Status optimizer(std::int64_t n, std::int64_t k);
  base::Status attention(std::int64_t d, std::int64_t length);
  base::Status by_rows(std::int64_t rows, std::int64_t width);

  OpBench& bench_;
  std::vector<TimedOp> waiting_;
  bool quick_;
  MachineCurves& out_;
  DType type_;
  Pool pool_;
};

/// One parameter with its gradient, and a tape for what is learnt through it.
struct OneParam {
  model::ParamStore store;
  const model::Param* param = nullptr;
  std::unique_ptr<model::Trainable> params;

  static base::Result<std::shared_ptr<OneParam>> make(std::vector<std::int64_t> shape, model::Use use,
                                                      OpBench& bench, DType type) {
    const auto one = std::make_shared<OneParam>();
    one->param = &one->store.declare("weight", std::move(shape), use);
    TW_ASSIGN_OR_RETURN(one->params, model::Trainable::make(one->store, bench.table(), type));
    one->params->initialize(1);
    if (use == model::Use::kMatrix) bench.run([&](ops::Exec& ex) { one->params->refresh(ex); });
    return one;
  }
  std::shared_ptr<ops::Tape> tape() const { return std::make_shared<ops::Tape>(params->leaves()); }
};

base::Status TrainCalibration::product(std::int64_t n, std::int64_t k, std::int64_t rows) {
  TW_ASSIGN_OR_RETURN(const auto one, OneParam::make({n, k}, model::Use::kMatrix, bench_, type_));
  const auto op = [=, this](ops::Exec& ex, std::int64_t call) {
    const Tensor in = value_of(ex, pool_.at(rows * k, 2 * call), rows, k);
    const Tensor out = ops::linear(ex, in, one->param->matrix, 0);
    if (ops::Tape* recording = ex.recording())
      recording->record<hand_back>(Given{pool_.at(rows * n, 2 * call + 1), rows * n}, {}, {out});
  };
  const auto take = [=, this](double seconds) {
    add(Measured::kTrainProduct, static_cast<double>(rows), static_cast<double>(n * k), 1, seconds);
  };
  waiting_.push_back({op, take, one->tape()});
  return base::Ok{};
}

base::Status TrainCalibration::optimizer(std::int64_t n, std::int64_t k) {
  constexpr std::int64_t kChunk = 65536;
  TW_ASSIGN_OR_RETURN(const auto one, OneParam::make({n, k}, model::Use::kMatrix, bench_, type_));
  const std::int64_t count = n * k;
  const auto first = std::make_shared<std::vector<float>>(count);
  const auto second = std::make_shared<std::vector<float>>(count);
  const auto op = [=](ops::Exec& ex, std::int64_t) {
    if (ex.tracing()) return;
    // As train::Trainer::step: gradients begin at zero, their length is taken, AdamW, and the forms that are
    // multiplied with are made again.
    float* gradients = one->params->gradients().data();
    ex.slice(count, 4096, [&](std::int64_t begin, std::int64_t end) {
      std::fill(gradients + begin, gradients + end, 0.0F);
    });
    ex.barrier();
    ex.each((count + kChunk - 1) / kChunk, [&](std::int64_t i) {
      volatile double sum =
          ex.table().train.sum_squares(gradients + i * kChunk, std::min(kChunk, count - i * kChunk));
      static_cast<void>(sum);
    });
    ex.barrier();
    kernels::AdamWArgs a{one->params->masters().data(),
                         first->data(),
                         second->data(),
                         gradients,
                         0,
                         0,
                         1,
                         1,
                         0.9F,
                         0.95F,
                         1e-4F,
                         1,
                         1e-8F};
    ex.slice(count, 64, [&](std::int64_t begin, std::int64_t end) {
      a.begin = begin, a.end = end;
      ex.table().train.adamw(a);
    });
    ex.barrier();
    one->params->refresh(ex);
  };
  waiting_.push_back({op, [=, this](double seconds) {
                        add(Measured::kOptimizer, 1, static_cast<double>(count), 1, seconds);
                      }});
  return base::Ok{};
}

/// One sequence from its beginning.
struct TrainAttention {
  TrainAttention(std::int64_t d, std::int64_t length)
      : shape{kHeads, kHeads, d, 0, false, 0, 0},
        table((length + kernels::kKvBlock - 1) / kernels::kKvBlock),
        tokens(length) {
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>(i);
    batch.add(tokens, 0, table.data(), false);
    counted.add_group(1, length, 0);
  }

  static constexpr std::int64_t kHeads = 8;
  ops::AttentionShape shape;
  std::vector<std::int32_t> table, tokens;
  model::Batch batch, counted;
  tensor::Buffer cache;
};

base::Status TrainCalibration::attention(std::int64_t d, std::int64_t length) {
  const auto own = std::make_shared<TrainAttention>(d, length);
  const std::int64_t width = TrainAttention::kHeads * d, count = length * width;
  const std::int64_t plane = std::ssize(own->table) * TrainAttention::kHeads *
                             kernels::kv_head_elements(type_, d) * kernels::kv_element_bytes(type_);
  TW_ASSIGN_OR_RETURN(own->cache, tensor::Buffer::allocate(2 * plane, "a benchmark's cache"));
  const auto run = [=, this](ops::Exec& ex, const model::Batch& of, std::int64_t call) {
    std::byte* const keys = own->cache.data();
    const ops::AttentionPlace place{
        of.positions(), of.row_blocks(),
        of.tiles(),     {keys, keys + plane, type_, kernels::kKvBlock, TrainAttention::kHeads, d},
        length,         0,
        of.groups()};
    const ops::Qkv qkv{value_of(ex, pool_.at(count, 4 * call), length, width),
                       value_of(ex, pool_.at(count, 4 * call + 1), length, width),
                       value_of(ex, pool_.at(count, 4 * call + 2), length, width)};
    const Tensor out = ops::attention(ex, qkv, own->shape, place);
    if (ops::Tape* recording = ex.recording())
      recording->record<hand_back>(Given{pool_.at(count, 4 * call + 3), count}, {}, {out});
  };
  ops::Trace trace;
  ops::Exec tracing(bench_.table(), trace);
  run(tracing, own->counted, 0);
  const auto take = [=, this, flops = trace.ops.back().flops](double seconds) {
    add(Measured::kTrainAttention, 1, flops, static_cast<double>(d), seconds);
  };
  waiting_.push_back({[=](ops::Exec& ex, std::int64_t call) { run(ex, own->batch, call); }, take,
                      std::make_shared<ops::Tape>(std::vector<ops::Leaf>{})});
  return base::Ok{};
}

base::Status TrainCalibration::by_rows(std::int64_t rows, std::int64_t width) {
  const std::int64_t count = rows * width;
  const auto bytes = static_cast<double>(sizeof(float)) * static_cast<double>(count);
  TW_ASSIGN_OR_RETURN(const auto scale, OneParam::make({width}, model::Use::kVector, bench_, type_));
  const auto norm = [=, this](ops::Exec& ex, std::int64_t call) {
    const Tensor in = value_of(ex, pool_.at(count, 2 * call), rows, width);
    const Tensor out = ops::rms_norm(ex, in, scale->param->vector, 1e-5);
    if (ops::Tape* recording = ex.recording())
      recording->record<hand_back>(Given{pool_.at(count, 2 * call + 1), count}, {}, {out});
  };
  waiting_.push_back({norm,
                      [=, this](double seconds) { add(Measured::kTrainRows, 1, 2 * bytes, 1, seconds); },
                      scale->tape()});
  struct Rows {
    std::vector<float> gradient, x, y, z, weights, losses;
    std::vector<std::int32_t> targets;
  };
  const auto own = std::make_shared<Rows>();
  own->gradient = own->x = own->y = own->z = random_floats(count);
  own->weights.assign(rows, 1), own->losses.resize(rows), own->targets.resize(rows);
  const auto activation = [=](ops::Exec& ex, std::int64_t) {
    if (ex.tracing()) return;
    float *const x = own->x.data(), *const y = own->y.data(), *const z = own->z.data();
    ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      ex.table().silu_mul({x, y, z, begin, end, 0, width, width});
    });
    ex.barrier();
    ex.slice(count, 64, [&](std::int64_t begin, std::int64_t end) {
      for (float* const to : {z, x, y})
        std::copy(own->gradient.data() + begin, own->gradient.data() + end, to + begin);
      ex.table().train.silu_mul_backward({x, y, z, begin, end});
    });
    ex.barrier();
  };
  waiting_.push_back(
      {activation, [=, this](double seconds) { add(Measured::kTrainActivation, 1, 3 * bytes, 1, seconds); }});
  const auto loss = [=](ops::Exec& ex, std::int64_t) {
    if (ex.tracing()) return;
    ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.cross_entropy({own->x.data(), own->targets.data(), own->weights.data(),
                                      own->losses.data(), begin, end, width, 1, 0});
    });
    ex.barrier();
  };
  waiting_.push_back(
      {loss, [=, this](double seconds) { add(Measured::kLoss, 1, static_cast<double>(count), 1, seconds); }});
  return base::Ok{};
}

}  // namespace

DType train_type(const kernels::Table& table) {
  return table.bf16_prompts() ? DType::kBF16 : DType::kF32;
}

base::Status calibrate_training(OpBench& bench, bool quick, MachineCurves& out) {
  return TrainCalibration(bench, quick, out).run();
}

}  // namespace tw::plan
