// Times ops as a team of workers runs them in a model: same slices, same barriers, same memory.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/team.h"
#include "ops/exec.h"
#include "plan/usual_state.h"
#include "tensor/memory.h"

namespace tw::plan {

/// What is timed. It owns what it works on.
struct TimedOp {
  /// `call` counts up, so that weights and caches can take turns.
  std::function<void(ops::Exec& ex, std::int64_t call)> op;
  std::function<void(double seconds)> take;
  std::shared_ptr<ops::Tape> tape = nullptr;  ///< with one, backward runs after the op on every call
};

class OpBench {
 public:
  /// One op's samples take about so many seconds of its time, and one sample of each visit at least.
  /// Visits are repeated as `usual` says, which must outlive this; null: none is.
  static base::Result<std::unique_ptr<OpBench>> make(const kernels::Table& table, int threads, double seconds,
                                                     UsualState* usual = nullptr);

  const kernels::Table& table() const { return table_; }
  base::Team& team() { return team_; }
  int threads() const { return team_.size(); }

  /// Times the ops in turns, and then tells each, in their order, its mean seconds of a call. Others on the
  /// machine slow tens of milliseconds of it at a time, by up to a half: samples that follow each other see
  /// the same one, and a model that runs for a second sees them all. Fails when there is no memory for an op.
  base::Status time(std::span<const TimedOp> ops);
  /// The same for what needs no Exec, alone: f(worker).
  double seconds_of(const std::function<void(int worker)>& f);
  /// Runs it once, untimed: f needs no memory of the Exec's.
  void run(const std::function<void(ops::Exec& ex)>& f);

 private:
  OpBench(const kernels::Table& table, base::Placement placement, double seconds, UsualState* usual)
      : table_(table), team_(std::move(placement)), seconds_(seconds), usual_(usual) {}
  class Samples;

  base::Status make_room(const TimedOp& timed);
  /// By every worker.
  void call(const TimedOp& timed, ops::Exec& ex, std::int64_t call);
  /// Calls it until the samples' visit is over, on from call `next`.
  void visit(const TimedOp& timed, Samples& samples, std::int64_t& next);

  kernels::Table table_;
  base::Team team_;
  double seconds_;
  UsualState* usual_;
  tensor::Buffer arena_;
  std::vector<tensor::Buffer> scratch_;
};

}  // namespace tw::plan
