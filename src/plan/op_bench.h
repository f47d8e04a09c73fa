// Times ops as a team of workers runs them in a model: same slices, same barriers, same memory.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/team.h"
#include "ops/exec.h"
#include "tensor/memory.h"

namespace tw::plan {

class OpBench {
 public:
  /// What is timed: `call` counts up, so that weights and caches can take turns.
  using Op = std::function<void(ops::Exec& ex, std::int64_t call)>;

  /// Samples of one op go on for so many seconds; long ones for up to three times that, until there are
  /// three.
  static base::Result<std::unique_ptr<OpBench>> make(const kernels::Table& table, int threads,
                                                     double seconds);

  const kernels::Table& table() const { return table_; }
  base::Team& team() { return team_; }
  int threads() const { return team_.size(); }

  /// Median seconds of a call. With a tape, backward runs after `op` on every call. Fails when there is no
  /// memory for it.
  base::Result<double> seconds(const Op& op, ops::Tape* tape = nullptr);
  /// The same for what needs no Exec: f(worker).
  double seconds_of(const std::function<void(int worker)>& f);
  /// Runs it once, untimed: f needs no memory of the Exec's.
  void run(const std::function<void(ops::Exec& ex)>& f);

 private:
  OpBench(const kernels::Table& table, base::Placement placement, double seconds)
      : table_(table), team_(std::move(placement)), seconds_(seconds) {}
  base::Status make_room(const Op& op, ops::Tape* tape);

  kernels::Table table_;
  base::Team team_;
  double seconds_;
  tensor::Buffer arena_;
  std::vector<tensor::Buffer> scratch_;
};

}  // namespace tw::plan
