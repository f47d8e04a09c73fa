#include "plan/schedule.h"

#include <algorithm>
#include <deque>
#include <limits>

namespace tw::plan {
namespace {

/// Writes one stage's list: receives and sends stand around what needs and makes their messages.
class StageList {
 public:
  StageList(int stage, int stages, int pieces)
      : first_(stage == 0), last_(stage + 1 == stages), pieces_(pieces) {}

  void forward(int micro_batch, int piece) {
    if (!(first_ && piece == 0)) list.push_back({Act::kReceive, micro_batch, piece, false});
    list.push_back({Act::kForward, micro_batch, piece, false});
    if (!(last_ && piece + 1 == pieces_)) list.push_back({Act::kSend, micro_batch, piece, false});
  }
  void backward(Act act, int micro_batch, int piece) {
    if (!(last_ && piece + 1 == pieces_)) list.push_back({Act::kReceive, micro_batch, piece, true});
    list.push_back({act, micro_batch, piece, false});
    if (!(first_ && piece == 0)) list.push_back({Act::kSend, micro_batch, piece, true});
  }

  std::vector<Action> list;

 private:
  bool first_, last_;
  int pieces_;
};

/// 1F1B is this with one piece: the k-th forward and backward by Megatron's order.
std::vector<Action> interleaved(int stage, int stages, int pieces, int micro_batches) {
  StageList s(stage, stages, pieces);
  const int all = micro_batches * pieces;
  const int ahead = pieces == 1 ? stages - stage - 1 : 2 * (stages - stage - 1) + (pieces - 1) * stages;
  const int warm = std::min(ahead, all);
  const auto micro_batch = [&](int k) { return k / (stages * pieces) * stages + k % stages; };
  const auto forward = [&](int k) {
    if (pieces == 1) return s.forward(k, 0);
    s.forward(micro_batch(k), k / stages % pieces);
  };
  const auto backward = [&](int k) {
    if (pieces == 1) return s.backward(Act::kBackward, k, 0);
    s.backward(Act::kBackward, micro_batch(k), pieces - 1 - k / stages % pieces);
  };
  for (int k = 0; k < warm; ++k) forward(k);
  for (int k = warm; k < all; ++k) forward(k), backward(k - warm);
  for (int k = all - warm; k < all; ++k) backward(k);
  return s.list;
}

/// As 1F1B, with stage s at most s weight gradients behind: memory stays that of the first stage.
std::vector<Action> zero_bubble(int stage, int stages, int micro_batches) {
  StageList s(stage, stages, 1);
  std::deque<int> behind;
  const auto weight = [&] {
    s.list.push_back({Act::kBackwardWeight, behind.front(), 0, false});
    behind.pop_front();
  };
  const auto backward = [&](int k) {
    s.backward(Act::kBackwardInput, k, 0);
    behind.push_back(k);
    if (static_cast<int>(behind.size()) > stage) weight();
  };
  const int warm = std::min(stages - stage - 1, micro_batches);
  for (int k = 0; k < warm; ++k) s.forward(k, 0);
  for (int k = warm; k < micro_batches; ++k) s.forward(k, 0), backward(k - warm);
  for (int k = micro_batches - warm; k < micro_batches; ++k) backward(k);
  while (!behind.empty()) weight();
  return s.list;
}

constexpr double kNever = std::numeric_limits<double>::infinity();

/// When messages arrive, by receiver.
class Mail {
 public:
  Mail(int stages, int pieces, int micro_batches)
      : stages_(stages),
        pieces_(pieces),
        micro_batches_(micro_batches),
        at_(2 * static_cast<std::size_t>(stages) * pieces * micro_batches, kNever) {}

  double& at(int stage, const Action& a) {
    const std::size_t place =
        (static_cast<std::size_t>(stage) * pieces_ + a.piece) * micro_batches_ + a.micro_batch;
    return at_[2 * place + (a.gradient ? 1 : 0)];
  }
  /// Where what a stage sends is received.
  double& sent_by(int stage, Action a) {
    int to = stage + (a.gradient ? -1 : 1);
    if (to == stages_) to = 0, ++a.piece;
    if (to < 0) to = stages_ - 1, --a.piece;
    TW_CHECK(a.piece >= 0 && a.piece < pieces_, "a schedule sends out of the model");
    return at(to, a);
  }

 private:
  int stages_, pieces_, micro_batches_;
  std::vector<double> at_;
};

double seconds_of(const Action& a, const StageSeconds& s, const StageSeconds& head, bool with_head) {
  const StageSeconds none;
  const StageSeconds& more = with_head ? head : none;
  switch (a.act) {
    case Act::kForward:
      return s.forward + more.forward;
    case Act::kBackward:
      return s.backward_input + s.backward_weight + more.backward_input + more.backward_weight;
    case Act::kBackwardInput:
      return s.backward_input + more.backward_input;
    case Act::kBackwardWeight:
      return s.backward_weight + more.backward_weight;
    default:
      return 0;
  }
}

/// Layers of all stages as step_formula has them.
Pipeline pipeline_of(const StepBasis& b, const StepParts& parts) {
  Pipeline p;
  const double forward = parts.forward, backward = parts.all - parts.forward;
  const double weight = b.zero_bubble ? std::min(parts.weight, backward) : backward / 2;
  const auto stages = static_cast<int>(b.pipeline);
  const double few = std::floor(b.layers / b.pipeline), more = b.layers - few * b.pipeline;
  for (int s = 0; s < stages; ++s) {
    // The last has the head besides, and so no layer more.
    const double layers = (few + (s < more ? 1 : 0)) / b.layers / b.interleave;
    p.stages.push_back({forward * layers, (backward - weight) * layers, weight * layers});
  }
  // The head's backward stays whole: logits of many micro-batches are too large to keep.
  p.head = {parts.head * kHeadForward, parts.head * (1 - kHeadForward), 0};
  p.send = parts.send / 2;
  return p;
}

}  // namespace

Schedule make_schedule(ScheduleKind kind, int stages, int pieces, int micro_batches) {
  TW_CHECK(kind == ScheduleKind::kInterleaved ? micro_batches % stages == 0 : pieces == 1,
           "such a schedule cannot be made");
  Schedule schedule;
  for (int s = 0; s < stages; ++s)
    schedule.push_back(kind == ScheduleKind::kZeroBubble ? zero_bubble(s, stages, micro_batches)
                                                         : interleaved(s, stages, pieces, micro_batches));
  return schedule;
}

base::Result<Simulated> simulate(const Schedule& schedule, int pieces, const Pipeline& pipeline,
                                 std::vector<ScheduleSpan>* spans) {
  const auto stages = static_cast<int>(schedule.size());
  int micro_batches = 0;
  for (const auto& list : schedule) {
    for (const Action& a : list) micro_batches = std::max(micro_batches, a.micro_batch + 1);
  }
  Mail mail(stages, pieces, micro_batches);
  std::vector<double> now(stages);
  std::vector<std::size_t> next(stages);
  Simulated result{0, std::vector<double>(stages)};
  for (bool moved = true; moved;) {
    moved = false;
    for (int s = 0; s < stages; ++s) {
      for (; next[s] < schedule[s].size(); ++next[s], moved = true) {
        const Action& a = schedule[s][next[s]];
        if (a.act == Act::kReceive) {
          if (mail.at(s, a) == kNever) break;
          now[s] = std::max(now[s], mail.at(s, a));
        } else if (a.act == Act::kSend) {
          now[s] += pipeline.send;
          mail.sent_by(s, a) = now[s];
        } else {
          const double seconds =
              seconds_of(a, pipeline.stages[s], pipeline.head, s + 1 == stages && a.piece + 1 == pieces);
          if (spans != nullptr)
            spans->push_back({s, a.micro_batch, a.piece, a.act, now[s], now[s] + seconds});
          now[s] += seconds;
          result.computing[s] += seconds;
        }
      }
    }
  }
  for (int s = 0; s < stages; ++s) {
    if (next[s] < schedule[s].size()) {
      const Action& a = schedule[s][next[s]];
      return base::error(base::Code::kInternal,
                         "deadlock: stage {} waits for the {} of micro-batch {}, piece {}", s,
                         a.gradient ? "gradient" : "activation", a.micro_batch, a.piece);
    }
    result.seconds = std::max(result.seconds, now[s]);
  }
  return result;
}

namespace {

ScheduleKind kind_of(const StepBasis& b) {
  if (b.zero_bubble) return ScheduleKind::kZeroBubble;
  return b.interleave > 1 ? ScheduleKind::kInterleaved : ScheduleKind::kOneForwardOneBackward;
}

}  // namespace

base::Status pipeline_spans(const StepBasis& b, const Constants& c, int micro_batches,
                            std::vector<ScheduleSpan>& spans) {
  const auto stages = static_cast<int>(b.pipeline), pieces = static_cast<int>(b.interleave);
  const Pipeline pipeline = pipeline_of(b, step_parts(b, c));
  TW_ASSIGN_OR_RETURN(const Simulated done, simulate(make_schedule(kind_of(b), stages, pieces, micro_batches),
                                                     pieces, pipeline, &spans));
  TW_CHECK(static_cast<int>(done.computing.size()) == stages, "a stage is missing");
  return base::Ok{};
}

base::Result<double> simulated_pipeline(const Pipeline& pipeline, ScheduleKind kind, int pieces, int all) {
  const auto stages = static_cast<int>(pipeline.stages.size());
  const auto run = [&](int micro_batches) {
    return simulate(make_schedule(kind, stages, pieces, micro_batches), pieces, pipeline);
  };
  const int most = 8 * stages;
  if (all <= most) {
    TW_ASSIGN_OR_RETURN(const Simulated s, run(all));
    return s.seconds;
  }
  TW_ASSIGN_OR_RETURN(const Simulated longer, run(most));
  TW_ASSIGN_OR_RETURN(const Simulated shorter, run(most - stages));
  return longer.seconds + (all - most) * (longer.seconds - shorter.seconds) / stages;
}

base::Result<double> simulated_step(const StepBasis& b, const Constants& c) {
  const StepParts parts = step_parts(b, c);
  const double stages = stages_seconds(parts), others = step_formula(parts) - stages;
  TW_ASSIGN_OR_RETURN(const double steady,
                      simulated_pipeline(pipeline_of(b, parts), kind_of(b), static_cast<int>(b.interleave),
                                         static_cast<int>(b.micro_batches)));
  // A stage that is slower by little takes its time to hold the others up. The closed form knows the pace at
  // which it does, and is never above the schedule.
  const bool extended = b.micro_batches > 8 * b.pipeline && !b.zero_bubble;
  return (extended ? std::max(steady, stages) : steady) + others;
}

}  // namespace tw::plan
