#include "model/trainable.h"

#include <cmath>
#include <numbers>

#include "base/hash64.h"
#include "base/mix64.h"

namespace tw::model {
namespace {

/// Number `index` of the stream `key`: SplitMix64, as 53 bits in [0, 1).
double uniform(std::uint64_t key, std::uint64_t index) {
  return static_cast<double>(base::mix64(key + (index + 1) * base::kMixStep) >> 11) * 0x1p-53;
}

double normal(std::uint64_t key, std::uint64_t index) {
  const double radius = std::sqrt(-2 * std::log(1 - uniform(key, 2 * index)));
  return radius * std::cos(2 * std::numbers::pi * uniform(key, 2 * index + 1));
}

std::size_t aligned(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace

base::Result<std::unique_ptr<Trainable>> Trainable::make(ParamStore& store, const kernels::Table& table,
                                                         base::DType type) {
  TW_CHECK(type == base::DType::kF32 || type == base::DType::kBF16,
           "weights that are learnt are fp32 or bf16");
  TW_CHECK(table.matmul[static_cast<int>(type)]->packed_bytes == nullptr, "they lie in plain rows");
  std::unique_ptr<Trainable> t(new Trainable(store));
  std::int64_t elements = 0;
  std::size_t copies = 0;
  for (const Param& param : store.params()) {
    t->offsets_.push_back(elements);
    elements += (param.elements() + 15) / 16 * 16;
    if (param.multiplied()) copies += aligned(base::row_bytes(type, param.elements()));
  }
  const std::size_t bytes = elements * sizeof(float);
  TW_ASSIGN_OR_RETURN(t->masters_, tensor::Buffer::allocate(bytes, "the master weights"));
  TW_ASSIGN_OR_RETURN(t->gradients_, tensor::Buffer::allocate(bytes, "the gradients"));
  TW_ASSIGN_OR_RETURN(t->columns_, tensor::Buffer::allocate(copies, "the transposed weights"));
  if (type != base::DType::kF32) {
    TW_ASSIGN_OR_RETURN(t->rows_, tensor::Buffer::allocate(copies, "the weights in bf16"));
  }
  t->transposed_.resize(store.params().size());
  std::size_t at = 0;
  for (std::size_t i = 0; i < store.params().size(); ++i) {
    std::byte* rows =
        t->rows_.size() > 0 ? t->rows_.data() + at : reinterpret_cast<std::byte*>(t->master(i).data());
    t->bind(i, table, type, rows, t->columns_.data() + at);
    if (store.params()[i].multiplied()) at += aligned(base::row_bytes(type, store.params()[i].elements()));
  }
  return t;
}

void Trainable::bind(std::size_t i, const kernels::Table& table, base::DType type, std::byte* rows,
                     std::byte* transposed) {
  Param& param = store_.params()[i];
  const auto id = static_cast<std::int32_t>(i);
  const kernels::MatmulKernel& kernel = *table.matmul[static_cast<int>(type)];
  const std::int64_t n = param.shape[0], k = param.shape.back();
  if (param.use == Use::kVector) param.vector = {base::DType::kF32, {n}, master(i).data(), id};
  if (param.use == Use::kTable || param.use == Use::kTableAndMatrix)
    param.table = {base::DType::kF32, master(i).data(), n, k, id};
  if (param.multiplied()) {
    param.matrix = tensor::PackedMatrix(kernel, type, rows, n, k, {});
    param.matrix.set_tape_id(id);
    transposed_[i] = tensor::PackedMatrix(kernel, type, transposed, k, n, {});
  }
  param.bound = true;
}

void Trainable::initialize(std::uint64_t seed) {
  for (std::size_t i = 0; i < store_.params().size(); ++i) {
    const Param& param = store_.params()[i];
    const std::uint64_t key = base::hash64(param.name) ^ seed * 0xD1B54A32D192ED03U;
    std::uint64_t index = 0;
    for (float& x : master(i)) {
      const double noise = param.spread == 0 ? 0 : param.spread * normal(key, index);
      x = static_cast<float>(param.start + noise);
      ++index;
    }
  }
}

void Trainable::refresh(ops::Exec& ex) {
  for (std::size_t i = 0; i < store_.params().size(); ++i) {
    const Param& param = store_.params()[i];
    if (!param.multiplied()) continue;
    const std::int64_t n = param.shape[0], k = param.shape[1];
    const float* from = master(i).data();
    // The buffers are ours: a PackedMatrix only looks at them.
    auto* columns = const_cast<void*>(transposed_[i].source());
    ex.slice(k, 16, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.transpose({from, k, n, begin, end, columns, n, param.matrix.type()});
    });
    if (rows_.size() == 0) continue;
    auto* rows = static_cast<std::uint16_t*>(const_cast<void*>(param.matrix.source()));
    ex.slice(n * k, 64, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.round_bf16({from, rows, begin, end});
    });
  }
  ex.barrier();
}

std::vector<ops::Leaf> Trainable::leaves() const {
  std::vector<ops::Leaf> leaves;
  for (std::size_t i = 0; i < store_.params().size(); ++i) {
    const Param& param = store_.params()[i];
    const std::int64_t n = param.shape[0];
    leaves.push_back({{base::DType::kF32, {n, param.elements() / n}, gradient(i).data()},
                      param.multiplied() ? &transposed_[i] : nullptr});
  }
  return leaves;
}

}  // namespace tw::model
