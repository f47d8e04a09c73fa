// A model's parameters in a form that can be learnt: fp32 masters with gradients, and what forward and
// backward multiply with, made anew from the masters after each optimizer step.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/param_store.h"
#include "ops/tape.h"

namespace tw::model {

class Trainable {
 public:
  /// Binds every parameter of `store`, which must outlive this, to memory of its own, all zero. `type`: what
  /// is multiplied with, kF32 or kBF16. Fails with kResourceExhausted.
  static base::Result<std::unique_ptr<Trainable>> make(ParamStore& store, const kernels::Table& table,
                                                       base::DType type);

  /// Masters by (seed, name, index in the whole tensor) alone, so that a shard gets what the whole would
  /// have: normal with the parameter's spread around its start (splitmix64 and Box-Muller), or uniform.
  void initialize(std::uint64_t seed);

  /// Makes the matrices from the masters, all workers together; ends with a barrier.
  void refresh(ops::Exec& ex);

  /// A matrix [n, k] in the form that weights are multiplied with, in memory of the arena: that of fp32 rows
  /// at `from`, which must then stay, or of the transpose of the [k, n] there. All workers together; no
  /// barrier.
  tensor::PackedMatrix formed(ops::Exec& ex, const float* from, std::int64_t n, std::int64_t k,
                              bool transposed) const;

  /// By the order of ParamStore::params().
  std::span<float> master(std::size_t i) const { return part(masters_, i); }
  std::span<float> gradient(std::size_t i) const { return part(gradients_, i); }
  /// All of them in one piece, with zeros between; a parameter begins at offset(i), a multiple of 16.
  std::span<float> masters() const { return floats(masters_); }
  std::span<float> gradients() const { return floats(gradients_); }
  std::int64_t offset(std::size_t i) const { return offsets_[i]; }
  std::vector<ops::Leaf> leaves() const;
  const ParamStore& store() const { return store_; }
  /// Bytes of the matrices that are multiplied with, where they are not the masters.
  std::size_t multiplied_bytes() const { return rows_.size(); }

 private:
  explicit Trainable(ParamStore& store) : store_(store) {}
  static std::span<float> floats(const tensor::Buffer& b) {
    return {reinterpret_cast<float*>(b.data()), b.size() / sizeof(float)};
  }
  std::span<float> part(const tensor::Buffer& b, std::size_t i) const {
    return floats(b).subspan(offsets_[i], store_.params()[i].elements());
  }
  void bind(std::size_t i, const kernels::MatmulKernel& kernel, base::DType type, std::byte* rows);
  ParamStore& store_;
  const kernels::MatmulKernel* kernel_ = nullptr;
  base::DType type_ = base::DType::kF32;
  std::vector<std::int64_t> offsets_;
  tensor::Buffer masters_, gradients_, rows_;
};

}  // namespace tw::model
