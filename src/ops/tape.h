// Tape: what a forward leaves behind so that the gradients can be computed: one entry an op, walked
// backwards. Its memory is reused from step to step.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "tensor/packed_matrix.h"
#include "tensor/tensor.h"

namespace tw::ops {

class Exec;
class Backward;

/// A parameter as the tape knows it.
struct Leaf {
  tensor::Tensor gradient;  ///< added to; no rank: it is frozen
};

/// Values are numbered as they are made: first the leaves, then each Exec::output, the same on every worker.
/// Worker 0 records; all workers walk.
class Tape {
 public:
  /// `whole`: this one is of blocks that are run again (recompute.h), and that whole step's Balance is also
  /// its own. It must outlive this.
  explicit Tape(std::vector<Leaf> leaves, Tape* whole = nullptr)
      : leaves_(std::move(leaves)), balance_(whole == nullptr ? &own_balance_ : whole->balance_) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// Forgets the step, and keeps the memory.
  void clear();
  std::int32_t leaves() const { return static_cast<std::int32_t>(leaves_.size()); }
  /// What it has for a parameter; null: that is not trained and nothing goes through it.
  const Leaf* leaf(std::int32_t tape_id) const { return tape_id < 0 ? nullptr : &leaves_[tape_id]; }

  /// What is minimised besides by routers, so that rows are dealt out evenly (arXiv 2101.03961, over all
  /// layers as transformers has it): weight * experts * sum over experts of (rows that took it / all rows) *
  /// (mean of its probability).
  struct Balance {
    double weight = 0;                ///< stays from step to step
    std::vector<std::int64_t> taken;  ///< by expert, in all layers so far
    std::int64_t rows = 0;            ///< of all layers so far
    bool complete = false;            ///< the forward is over: what is run again was counted already
  };
  Balance& balance() { return *balance_; }

  /// A value was made, with so many bytes. Worker 0 alone.
  void add_value(std::size_t bytes) { values_.push_back({bytes, 0, false}); }

  /// Records an op by what its backward needs. Of its inputs those without a tape_id get no gradient.
  /// `passes`: the gradient of outputs[0] is also the first input's, unchanged, which may then take its
  /// memory over.
  template <auto kBackward, typename Saved>
  void record(const Saved& saved, std::initializer_list<tensor::Tensor> outputs,
              std::initializer_list<tensor::Tensor> inputs, bool passes = false) {
    static_assert(std::is_trivially_copyable_v<Saved> && sizeof(Saved) <= kSavedBytes);
    Entry& entry = add(outputs, inputs, passes);
    std::memcpy(entry.saved, &saved, sizeof(saved));
    entry.run = [](const Backward& b, const Entry& e) {
      kBackward(b, *std::launder(reinterpret_cast<const Saved*>(e.saved)));
    };
  }

  /// Computes all gradients, by all workers; the tape is then used up. Temporary memory and gradients of
  /// values come from the arena. A tracing Exec computes nothing and records the costs.
  void backward(Exec& ex);
  /// The same of a part of a model: from the gradient d_out of its value `out` to that of `in`, if it is one,
  /// which is written to d_in. Ends with a barrier.
  void backward(Exec& ex, const tensor::Tensor& out, const tensor::Tensor& d_out, const tensor::Tensor& in,
                const tensor::Tensor& d_in);

 private:
  friend class Backward;
  static constexpr std::size_t kSavedBytes = 1024;
  static constexpr int kMostValues = 4;
  struct Entry {
    void (*run)(const Backward&, const Entry&);
    std::int8_t outputs, inputs;
    bool passes, used;
    std::uint8_t adds;  ///< a bit an input: it has a gradient already
    std::array<std::int32_t, kMostValues> output, input;
    alignas(16) std::byte saved[kSavedBytes];
  };
  struct Value {
    std::size_t bytes, offset;
    bool live;
  };
  struct Hole {
    std::size_t offset, bytes;
  };

  Entry& add(std::initializer_list<tensor::Tensor> outputs, std::initializer_list<tensor::Tensor> inputs,
             bool passes);
  Value& value(std::int32_t id) { return values_[id - leaves()]; }
  /// Gives every gradient its place and says which inputs add to one that is there. `given`: a value that has
  /// one from the start; null: none has.
  void plan(Value* given);
  void walk(Exec& ex, std::byte* gradients);
  void plan_entry(Entry& entry);
  void take(Value& value);
  void give_back(Value& value);

  std::vector<Leaf> leaves_;
  std::vector<Value> values_;
  std::vector<Entry> entries_;
  std::vector<Hole> holes_;  ///< while planning, by offset
  Balance own_balance_;
  Balance* balance_;
  std::size_t planned_ = 0;  ///< bytes of all gradients
};

/// What the backward of one op is told: inputs and outputs are numbered as they were recorded.
class Backward {
 public:
  Exec& ex;

  /// The gradient by an output: complete.
  tensor::Tensor d_out(int i = 0) const { return gradient(entry_.output[i]); }
  /// Where the gradient by an input goes.
  tensor::Tensor d_in(int i = 0) const { return gradient(entry_.input[i]); }
  /// An input that is a value of the tape.
  bool wants(int i = 0) const { return entry_.input[i] >= 0; }
  /// d_in(i) holds something that must be added to.
  bool adds(int i = 0) const { return (entry_.adds >> i & 1) != 0; }
  const Leaf* leaf(std::int32_t tape_id) const { return tape_.leaf(tape_id); }
  const Tape::Balance& balance() const { return *tape_.balance_; }
  /// Its gradient, or none.
  tensor::Tensor d_leaf(std::int32_t tape_id) const {
    return tape_id < 0 ? tensor::Tensor{} : leaf(tape_id)->gradient;
  }

 private:
  friend class Tape;
  Backward(Exec& exec, Tape& tape, const Tape::Entry& entry, std::byte* gradients)
      : ex(exec), tape_(tape), entry_(entry), gradients_(gradients) {}
  tensor::Tensor gradient(std::int32_t id) const;

  Tape& tape_;
  const Tape::Entry& entry_;
  std::byte* gradients_;
};

}  // namespace tw::ops
