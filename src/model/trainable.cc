#include "model/trainable.h"

#include <algorithm>
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

/// Of a matrix in the kernel's form.
std::size_t matrix_bytes(const kernels::MatmulKernel& kernel, base::DType type, std::int64_t n,
                         std::int64_t k) {
  const std::size_t packed = tensor::PackedMatrix::packed_bytes(kernel, type, n, k);
  return (std::max(packed, packed == 0 ? base::row_bytes(type, n * k) : 0) + 63) / 64 * 64;
}

tensor::PackedMatrix matrix_at(const kernels::MatmulKernel& kernel, base::DType type, std::byte* memory,
                               std::int64_t n, std::int64_t k) {
  const std::size_t packed = tensor::PackedMatrix::packed_bytes(kernel, type, n, k);
  return {kernel, type, memory, n, k, {memory, packed}};
}

/// This worker's part of a matrix, or of its transpose, from fp32 rows; nothing to do where it is those rows.
void fill(ops::Exec& ex, const float* from, const tensor::PackedMatrix& to, bool transposed) {
  const std::int64_t n = to.n(), k = to.k();
  // The buffers are ours: a PackedMatrix only looks at them.
  void* out = const_cast<void*>(to.data());
  if (!to.packed().empty()) {
    ex.slice(n, to.kernel().panel_rows, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train_matmul->make_right({from, transposed ? n : k, n, k, transposed, out, begin, end});
    });
  } else if (transposed) {
    ex.slice(n, 16, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.transpose({from, n, k, begin, end, out, k, to.type()});
    });
  } else if (out != from) {
    ex.slice(n * k, 64, [&](std::int64_t begin, std::int64_t end) {
      ex.table().train.round_bf16({from, static_cast<std::uint16_t*>(out), begin, end});
    });
  }
}

}  // namespace

base::Result<std::unique_ptr<Trainable>> Trainable::make(ParamStore& store, const kernels::Table& table,
                                                         base::DType type) {
  TW_CHECK(type == base::DType::kF32 || type == base::DType::kBF16,
           "weights that are learnt are fp32 or bf16");
  const bool sides = type == base::DType::kBF16 && table.train_matmul != nullptr;
  const kernels::MatmulKernel& kernel =
      sides ? table.train_matmul->kernel : *table.matmul[static_cast<int>(type)];
  TW_CHECK(sides || kernel.packed_bytes == nullptr, "they lie in plain rows");
  std::unique_ptr<Trainable> t(new Trainable(store));
  t->kernel_ = &kernel;
  t->type_ = type;
  std::int64_t elements = 0;
  std::size_t copies = 0;
  for (const Param& param : store.params()) {
    t->offsets_.push_back(elements);
    elements += (param.elements() + 15) / 16 * 16;
    if (!param.multiplied()) continue;
    copies += matrix_bytes(kernel, type, param.shape[0], param.shape[1]);
  }
  const std::size_t bytes = elements * sizeof(float);
  TW_ASSIGN_OR_RETURN(t->masters_, tensor::Buffer::allocate(bytes, "the master weights"));
  TW_ASSIGN_OR_RETURN(t->gradients_, tensor::Buffer::allocate(bytes, "the gradients"));
  if (type != base::DType::kF32) {
    TW_ASSIGN_OR_RETURN(t->rows_, tensor::Buffer::allocate(copies, "the weights in bf16"));
  }
  std::byte* rows = t->rows_.data();
  for (std::size_t i = 0; i < store.params().size(); ++i) {
    const Param& param = store.params()[i];
    t->bind(i, kernel, type, rows);
    if (!param.multiplied()) continue;
    if (rows != nullptr) rows += matrix_bytes(kernel, type, param.shape[0], param.shape[1]);
  }
  return t;
}

void Trainable::bind(std::size_t i, const kernels::MatmulKernel& kernel, base::DType type, std::byte* rows) {
  Param& param = store_.params()[i];
  const auto id = static_cast<std::int32_t>(i);
  const std::int64_t n = param.shape[0], k = param.shape.back();
  if (param.use == Use::kVector) param.vector = {base::DType::kF32, {n}, master(i).data(), id};
  if (param.use == Use::kTable || param.use == Use::kTableAndMatrix)
    param.table = {base::DType::kF32, master(i).data(), n, k, id};
  if (param.multiplied()) {
    std::byte* const own = rows == nullptr ? reinterpret_cast<std::byte*>(master(i).data()) : rows;
    param.matrix = matrix_at(kernel, type, own, n, k);
    param.matrix.set_tape_id(id);
  }
  param.bound = true;
}

void Trainable::initialize(std::uint64_t seed) {
  for (std::size_t i = 0; i < store_.params().size(); ++i) {
    const Param& param = store_.params()[i];
    const std::uint64_t key = base::hash64(param.name) ^ seed * 0xD1B54A32D192ED03U;
    std::uint64_t index = 0;
    for (float& x : master(i)) {
      const double drawn = param.uniform ? 2 * uniform(key, index) - 1 : normal(key, index);
      const double noise = param.spread == 0 ? 0 : param.spread * drawn;
      x = static_cast<float>(param.start + noise);
      ++index;
    }
  }
}

tensor::PackedMatrix Trainable::formed(ops::Exec& ex, const float* from, std::int64_t n, std::int64_t k,
                                       bool transposed) const {
  const bool as_it_is = type_ == base::DType::kF32 && !transposed;
  std::byte* memory = as_it_is ? reinterpret_cast<std::byte*>(const_cast<float*>(from))
                               : ex.arena().allocate(matrix_bytes(*kernel_, type_, n, k));
  const tensor::PackedMatrix matrix = matrix_at(*kernel_, type_, memory, n, k);
  if (!ex.tracing()) fill(ex, from, matrix, transposed);
  return matrix;
}

void Trainable::refresh(ops::Exec& ex) {
  for (std::size_t i = 0; i < store_.params().size(); ++i) {
    const Param& param = store_.params()[i];
    if (param.multiplied()) fill(ex, master(i).data(), param.matrix, false);
  }
  ex.barrier();
}

std::vector<ops::Leaf> Trainable::leaves() const {
  std::vector<ops::Leaf> leaves;
  for (std::size_t i = 0; i < store_.params().size(); ++i) {
    const Param& param = store_.params()[i];
    const std::int64_t n = param.shape[0];
    leaves.push_back({{base::DType::kF32, {n, param.elements() / n}, gradient(i).data()}});
  }
  return leaves;
}

}  // namespace tw::model
