// The named parameters of a model: what each is, declared by the Transformer beside the op that uses it, and
// where its values are, bound by the loader (and later by the optimizer and the checkpoint). Names are
// Hugging Face's.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "ops/ops.h"
#include "tensor/memory.h"

namespace tw::model {

/// What a parameter is used for; a tied embedding is looked up and multiplied with.
enum class Use { kVector, kMatrix, kTable, kTableAndMatrix };

/// The axis along which tensor parallelism cuts a parameter.
enum class Shard { kNone, kRows, kColumns };

struct Param {
  std::string name;
  std::vector<std::int64_t> shape;  ///< outermost first: a linear layer's weight is {out, in}
  Use use = Use::kVector;
  Shard shard = Shard::kNone;
  bool decay = false;  ///< weight decay applies (matrices)
  bool bound = false;
  bool routed = false;  ///< of one expert of several: only the tokens that it is chosen for meet it
  /// What it is multiplied with has a few numbers that are far larger than all others (arXiv 2402.17762),
  /// which 8 bits do not hold: PackedMatrix::exact.
  bool exact = false;
  std::int32_t linear = -1;  ///< number of the layer whose weight it is, for adapters; -1: none may be added
  double start = 0, spread = 0;  ///< of the first weights of a new model: mean and standard deviation
  bool uniform = false;          ///< they are uniform instead, at most `spread` from `start`

  tensor::PackedMatrix matrix;  ///< kMatrix, kTableAndMatrix
  ops::EmbeddingTable table;    ///< kTable, kTableAndMatrix
  tensor::Tensor vector;        ///< kVector, fp32
  tensor::Buffer storage;       ///< what `vector` views

  std::int64_t elements() const;
  /// It has a matrix.
  bool multiplied() const { return use == Use::kMatrix || use == Use::kTableAndMatrix; }
};

class ParamStore {
 public:
  /// Adds a parameter; the reference stays valid as long as the store. REQUIRES: the name is new.
  Param& declare(std::string name, std::vector<std::int64_t> shape, Use use, Shard shard = Shard::kNone);

  /// The same for the weight of a linear layer that adapters may add to: numbers follow each other.
  Param& declare_linear(std::string name, std::vector<std::int64_t> shape, Shard shard);
  /// How many of them there are.
  std::int32_t linears() const { return linears_; }

  std::deque<Param>& params() { return params_; }
  const std::deque<Param>& params() const { return params_; }
  std::int64_t total_elements() const;

 private:
  std::deque<Param> params_;
  std::unordered_set<std::string> names_;
  std::int32_t linears_ = 0;
};

}  // namespace tw::model
