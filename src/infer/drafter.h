// Speculation with a draft model: a small model of the same vocabulary says what the large one will probably
// say next, and the large one checks several such tokens in one step (arXiv 2211.17192, 2302.01318). A token
// counts only if it is the one that would have been drawn without the guess, so that answers stay the same
// bit for bit at any temperature.
#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "infer/engine.h"
#include "infer/guess_length.h"
#include "infer/paged_kv.h"
#include "infer/step_runner.h"
#include "sched/scheduler.h"

namespace tw::infer {

/// The draft model beside an engine: it keeps its own keys and values in blocks of the same numbers as the
/// engine's. What it computes decides speed alone. Used by the engine's thread.
class Drafter {
 public:
  struct Options {
    std::int64_t blocks = 0;   ///< of the engine's pool
    std::int64_t context = 0;  ///< longest sequence
    int max_running = 1, max_step_tokens = 1;
    base::DType kv_type = base::DType::kF16;
    std::int64_t tokens = 0;  ///< how many to guess; 0: as many as pay
  };
  /// A sequence whose next token is due. Spans as in sched::Decoding.
  struct Work {
    Ticket id;
    std::span<const std::int32_t> tokens;
    std::span<const sched::BlockId> blocks;
    std::int64_t limit;  ///< guesses wanted at most
  };

  /// Whether both models mean the same by a token; the error names both and the first that differs.
  static base::Status check(const model::LoadedModel& draft, const model::LoadedModel& model);
  /// REQUIRES: check() is ok. The team is shared with the engine's own runner.
  static base::Result<std::unique_ptr<Drafter>> create(std::shared_ptr<const model::LoadedModel> draft,
                                                       const Options& options, base::Team& team);

  /// The step's prompts, once they reach the engine's last layer.
  void follow(const sched::Step& step);
  /// What it thinks comes next, for each sequence: none to `limit` tokens. Valid until the next call.
  const std::vector<std::vector<std::int32_t>>& guess(const std::vector<Work>& work);
  /// How a guess for this sequence went.
  void learn(Ticket id, std::int64_t guessed, std::int64_t right);
  /// The engine's answers with so many guesses among them took so long.
  void stepped(std::int64_t guesses, double seconds) { costs_.stepped(guesses, seconds); }
  void forget(Ticket id) { states_.erase(id); }

  std::size_t kv_bytes() const { return kv_.bytes(); }

 private:
  struct State {
    std::int64_t known = 0;     ///< leading tokens whose keys and values lie in the sequence's blocks
    std::int64_t last = 0;      ///< length of the sequence at the last guess
    std::int64_t computed = 0;  ///< guesses whose keys and values lie there too, if they come true
    GuessLength length;
  };
  /// A guess in the making.
  struct Draft {
    const Work* work;
    State* state;
    std::vector<std::int32_t>* tokens;
    std::int64_t wanted;
    std::vector<sched::BlockId> blocks;  ///< the sequence's, and one that is nobody else's
    std::int32_t next = 0;               ///< what the pass at hand says
  };

  Drafter(std::shared_ptr<const model::LoadedModel> draft, const Options& options, PagedKv kv,
          std::unique_ptr<StepRunner> runner);
  void plan(const std::vector<Work>& work);
  void catch_up(std::int64_t most);
  void pass();

  std::shared_ptr<const model::LoadedModel> model_;
  Options options_;
  PagedKv kv_;
  std::unique_ptr<StepRunner> runner_;
  GuessCosts costs_;
  std::unordered_map<Ticket, State> states_;
  std::vector<Draft> drafts_;
  std::vector<std::vector<std::int32_t>> guesses_;
  model::Batch batch_;
  std::vector<OutputRow> outputs_;
};

}  // namespace tw::infer
