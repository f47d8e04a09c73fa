// Exec: all an op needs to run its part of a step. Each worker has its own and runs the same code with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/team.h"
#include "kernels/table.h"
#include "ops/dropout.h"
#include "ops/tape.h"
#include "tensor/memory.h"

namespace tw::ops {

class InputSquares;

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

/// What limits an op, and what its backward is made of.
enum class OpKind {
  kRows,        ///< each row alone: bound by memory
  kMatmul,      ///< [m, k] times [k, n]; with groups, so many of them
  kAttention,   ///< m rows, n heads of k
  kCollective,  ///< `elements` handed in by each rank of `axis`
};
enum class Collective { kNone, kAllReduce, kAllGather, kReduceScatter, kAllToAll, kRing };
enum class Axis { kTensor, kContext, kExpert };

/// What one op costs, as the planner wants it.
struct OpCost {
  std::string name;
  double flops = 0;             ///< multiply and add count two
  double weight_bytes = 0;      ///< parameters read
  double activation_bytes = 0;  ///< read and written, the KV cache included
  OpKind kind = OpKind::kRows;
  double m = 0, n = 0, k = 0, groups = 1;
  double pairs = 0,
         all_pairs = 0;  ///< kAttention: (query, key) of one head; those seen, and all of the square
  Collective collective = Collective::kNone;
  Axis axis = Axis::kTensor;
  double elements = 0;  ///< kCollective: of the whole tensor
  int layer = -1;       ///< which it belongs to; -1 before the first
};

/// The ops of a traced step, in order.
struct Trace {
  std::vector<OpCost> ops;
  int layer = -1;  ///< stamped on what is recorded
};

/// Over how many ranks a traced model is divided. Its ModelConfig is one rank's part
/// (spec::ModelConfig::part).
struct Sharding {
  int tensor = 1, context = 1, expert = 1;
  bool sequence = false;  ///< rows between the tensor-parallel regions are divided too (arXiv 2205.05198)
};

/// Rules for ops: shapes are checked; outputs come from the arena in the same order on every worker; each
/// worker computes its slice; one barrier ends the op. While tracing nothing is computed and no data pointer
/// is followed.
class Exec {
 public:
  /// A worker's Exec. `scratch` is this worker's own memory for kernels, scratch_bytes long. All must outlive
  /// it.
  Exec(const kernels::Table& table, base::Barrier& barrier, int worker, int workers, tensor::Arena arena,
       std::byte* scratch, std::size_t scratch_bytes)
      : table_(table),
        barrier_(&barrier),
        worker_(worker),
        workers_(workers),
        arena_(arena),
        scratch_(scratch),
        scratch_bytes_(scratch_bytes) {}
  /// A tracing Exec: shapes only. It also finds the arena's and the scratch's worst size.
  Exec(const kernels::Table& table, Trace& trace, const Sharding& sharding = {})
      : table_(table), trace_(&trace), sharding_(sharding) {}

  const kernels::Table& table() const { return table_; }
  int worker() const { return worker_; }
  int workers() const { return workers_; }
  tensor::Arena& arena() { return arena_; }
  /// What an op makes: on a tape it gets the next number.
  Tensor output(Shape shape) {
    Tensor out = arena_.tensor(DType::kF32, shape);
    if (tape_ != nullptr) number(out);
    return out;
  }
  /// Memory for what lives no longer than the op.
  Tensor temporary(Shape shape) { return arena_.tensor(DType::kF32, shape); }

  /// From now on gradients will be wanted: values are numbered, and ops keep what their backward needs. The
  /// tape is empty, and shared by all workers. REQUIRES: worker 0 clears it, before a barrier. `blocks`: a
  /// second one, of that whole, for parts that are run again by their backward (recompute.h); null: none
  /// is. `dropout`: what ops leave out, forwards and backwards.
  void train(Tape* tape, Tape* blocks = nullptr, const Dropout& dropout = {}) {
    tape_ = tape;
    blocks_ = blocks;
    dropout_ = dropout;
    next_value_ = tape->leaves();
  }
  const Dropout& dropout() const { return dropout_; }
  bool recomputes() const { return blocks_ != nullptr; }
  /// While it is there values are numbered on the tape of blocks, afresh. REQUIRES: no worker walks that.
  class OnBlockTape {
   public:
    explicit OnBlockTape(Exec& ex) : ex_(ex), tape_(ex.tape_), next_value_(ex.next_value_) {
      if (ex.worker_ == 0) ex.blocks_->clear();
      ex.tape_ = ex.blocks_;
      ex.next_value_ = ex.blocks_->leaves();
    }
    ~OnBlockTape() {
      ex_.tape_ = tape_;
      ex_.next_value_ = next_value_;
    }
    OnBlockTape(const OnBlockTape&) = delete;
    OnBlockTape& operator=(const OnBlockTape&) = delete;

   private:
    Exec& ex_;
    Tape* tape_;
    std::int32_t next_value_;
  };
  /// What a tape did not see being made, as a value of it.
  Tensor input(Tensor made) {
    number(made);
    return made;
  }
  bool training() const { return tape_ != nullptr; }
  Tape* tape() const { return tape_; }
  /// The tape on the worker that records; else null.
  Tape* recording() const { return worker_ == 0 ? tape_ : nullptr; }

  /// From now on linear layers tell it what they are multiplied with. It must outlive this; null: nobody is
  /// told.
  void observe(InputSquares* inputs) { inputs_ = inputs; }
  InputSquares* observer() const { return inputs_; }

  bool tracing() const { return trace_ != nullptr; }
  void record(OpCost cost) {
    cost.layer = trace_->layer;
    trace_->ops.push_back(std::move(cost));
  }
  /// What is recorded from now on belongs to this layer.
  void enter_layer(int layer) {
    if (tracing()) trace_->layer = layer;
  }
  const Sharding& sharding() const { return sharding_; }

  void barrier() { barrier_->wait(); }

  /// Calls f(begin, end) with this worker's part of [0, count), cut at multiples of `grain`. THE way to share
  /// work.
  template <typename F>
  void slice(std::int64_t count, std::int64_t grain, F&& f) const {
    slice_in_turn(0, 1, count, grain, f);
  }
  /// The same for number `piece` of `pieces` that run without a barrier between: grains that do not divide
  /// evenly fall to other workers from piece to piece, so that all have as many in sum.
  template <typename F>
  void slice_in_turn(std::int64_t piece, std::int64_t pieces, std::int64_t count, std::int64_t grain,
                     F&& f) const {
    const std::int64_t grains = (count + grain - 1) / grain, workers = workers_;
    const auto cut = [&](std::int64_t worker) {
      return (grains * worker * pieces + piece * workers) / (workers * pieces) * grain;
    };
    const std::int64_t begin = cut(worker_), end = std::min(cut(worker_ + 1), count);
    if (begin < end) f(begin, end);
  }

  /// Calls f(i) for this worker's items of [0, count): one of every workers(), in turns from the front and
  /// from the back (worker 0 of two has 0, 3, 4, 7, ...), so that costs that grow with i even out.
  template <typename F>
  void each(std::int64_t count, F&& f) const {
    bool back = false;
    for (std::int64_t first = 0; first < count; first += workers_, back = !back) {
      const std::int64_t i = first + (back ? workers_ - 1 - worker_ : worker_);
      if (i < count) f(i);
    }
  }

  /// This worker's kernel scratch. While tracing it returns null and remembers the largest request.
  void* scratch(std::size_t bytes) {
    scratch_peak_ = std::max(scratch_peak_, bytes);
    TW_CHECK(tracing() || bytes <= scratch_bytes_, "a kernel needs more scratch than the traced worst step");
    return scratch_;
  }
  std::size_t scratch_peak() const { return scratch_peak_; }

 private:
  void number(Tensor& out) {
    out.tape_id = next_value_++;
    if (worker_ == 0) tape_->add_value(out.bytes());
  }

  const kernels::Table& table_;
  base::Barrier* barrier_ = nullptr;
  int worker_ = 0, workers_ = 1;
  tensor::Arena arena_;
  std::byte* scratch_ = nullptr;
  std::size_t scratch_bytes_ = 0, scratch_peak_ = 0;
  Trace* trace_ = nullptr;
  Tape *tape_ = nullptr, *blocks_ = nullptr;
  Dropout dropout_;
  InputSquares* inputs_ = nullptr;
  std::int32_t next_value_ = 0;
  Sharding sharding_;
};

}  // namespace tw::ops
