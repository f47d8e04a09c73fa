// Pipeline schedules as data: what each stage does, in order. Checked for deadlock, and simulated.
#pragma once

#include <vector>

#include "base/result.h"
#include "plan/training.h"

namespace tw::plan {

enum class Act {
  kForward,
  kBackward,        ///< both halves at once
  kBackwardInput,   ///< the gradient that the stage before waits for
  kBackwardWeight,  ///< the gradient that only the optimizer waits for
  kSend,
  kReceive,
};

struct Action {
  Act act = Act::kForward;
  int micro_batch = 0;
  int piece = 0;          ///< of the stage that runs it, in the order of the model
  bool gradient = false;  ///< what is sent or received is a gradient, which goes to the stage before
};

/// One list a stage. What stage s sends of piece k goes to s + 1, and from the last to piece k + 1 of the
/// first; gradients go the other way.
using Schedule = std::vector<std::vector<Action>>;

enum class ScheduleKind { kOneForwardOneBackward, kInterleaved, kZeroBubble };

/// 1F1B and interleaved (arXiv 2104.04473, figure 4), or ZB-H1, which splits backward and runs weight
/// gradients where 1F1B waits (arXiv 2401.10241). REQUIRES: interleaved micro-batches divide by the stages;
/// the others have one piece.
Schedule make_schedule(ScheduleKind kind, int stages, int pieces, int micro_batches);

/// Of one piece of a stage.
struct StageSeconds {
  double forward = 0, backward_input = 0, backward_weight = 0;
};

struct Pipeline {
  std::vector<StageSeconds> stages;
  StageSeconds head;  ///< what the last piece of the last stage does besides
  double send = 0;    ///< a message keeps its sender busy so long
};

/// When a stage computes.
struct ScheduleSpan {
  int stage = 0, micro_batch = 0, piece = 0;
  Act act = Act::kForward;
  double start = 0, end = 0;
};

struct Simulated {
  double seconds = 0;
  std::vector<double> computing;  ///< seconds by stage
};

/// Runs each stage's list in order; a receive waits for its message. Fails when nothing can go on: the error
/// names a stage and what it waits for. `spans`, if any, gets all that is computed.
base::Result<Simulated> simulate(const Schedule& schedule, int pieces, const Pipeline& pipeline,
                                 std::vector<ScheduleSpan>* spans = nullptr);

/// What the stages of a plan do in a step of so many micro-batches, to be drawn. REQUIRES: interleaved
/// micro-batches divide by the stages.
base::Status pipeline_spans(const StepBasis& basis, const Constants& constants, int micro_batches,
                            std::vector<ScheduleSpan>& spans);

/// Seconds of so many micro-batches; beyond eight a stage it goes on at the pace of the last ones.
base::Result<double> simulated_pipeline(const Pipeline& pipeline, ScheduleKind kind, int pieces,
                                        int micro_batches);

/// step_seconds with the stages' part simulated; beyond eight micro-batches a stage it goes on at the pace of
/// the last ones, or at the closed form's where that is slower.
base::Result<double> simulated_step(const StepBasis& basis, const Constants& constants);

}  // namespace tw::plan
