// Runs one step of the scheduler's plan over the model: batch, forward, logits, sampling.
#pragma once

#include <memory>
#include <vector>

#include "base/team.h"
#include "infer/active_request.h"
#include "infer/paged_kv.h"
#include "model/loaded_model.h"

namespace tw::infer {

/// What is done with a row of the model's output, or with a token's row and those of the guesses after it.
struct OutputRow {
  enum class Kind { kSample, kScore, kBest, kHidden };
  ActiveRequest* request = nullptr;  ///< null with kBest
  Kind kind = Kind::kSample;
  std::int64_t batch_row = 0, rows = 1;
  std::int64_t position = 0;     ///< kScore: the prompt position that this row predicts
  std::int32_t* best = nullptr;  ///< kBest: where the most likely token goes
};

/// Owns the memory of a step: forward and logits allocate nothing. For one thread.
class StepRunner {
 public:
  /// Traces the worst step (max_tokens rows over the longest context) and allocates what it needs. The team
  /// must outlive it.
  static base::Result<std::unique_ptr<StepRunner>> create(const model::LoadedModel& model, const PagedKv& kv,
                                                          base::Team& team, int max_tokens);

  struct Part {
    /// The batch goes through these. Its rows wait here for the call with those that follow, which the calls
    /// in between must leave to it: none of them has fewer layers than all.
    model::LayerRange layers;
    /// Whose the batch's rows are, one after the other. Some of those of the call before may have left.
    struct Owner {
      Ticket request;
      std::int64_t rows;
      bool operator==(const Owner&) const = default;
    };
    std::vector<Owner> owners;
    /// 0: those that have a processor to themselves. The bits are the same for any number.
    int workers = 0;
  };
  /// REQUIRES: batch.rows() <= max_tokens; outputs, of the last layer alone, of kind kHidden come after all
  /// others; none has more than kLogitRows rows.
  void run(model::Batch& batch, const std::vector<OutputRow>& outputs, const model::KvView& kv,
           const Part& part);
  void run(model::Batch& batch, const std::vector<OutputRow>& outputs, const model::KvView& kv) {
    run(batch, outputs, kv, Part());
  }

  // Logits of a step are made this many rows at a time: 64 rows of a 150k vocabulary are 38 MB, 512 would be
  // 300.
  static constexpr std::int64_t kLogitRows = 64;

  /// From the next step on. It must outlive them; null: nobody is told.
  void observe(ops::InputSquares* inputs) { inputs_ = inputs; }

  std::size_t activation_bytes() const { return activations_.size(); }

 private:
  StepRunner(const model::LoadedModel& model, base::Team& team);
  /// A run, as all workers see it.
  struct Job {
    const model::Batch& batch;
    const std::vector<OutputRow>& outputs;
    const model::KvView& kv;
    model::LayerRange layers;
  };
  void work(int worker, int workers, const Job& job);
  void close_gaps(const std::vector<Part::Owner>& owners);
  /// Logits of these hidden rows, which are those of outputs [begin, end), and what follows from them.
  void use_logits(ops::Exec& ex, ops::Tensor hidden, const std::vector<OutputRow>& outputs, std::size_t begin,
                  std::size_t end);
  void use_row(const OutputRow& output, float* logits, std::int64_t vocab, SamplerWorkspace& workspace) const;

  const model::LoadedModel& model_;
  base::Team& team_;
  ops::InputSquares* inputs_ = nullptr;
  tensor::Buffer activations_;
  tensor::Buffer between_layers_;             ///< rows that wait for their next layers: [max_tokens, D]
  std::vector<Part::Owner> owners_;           ///< of these rows
  std::vector<tensor::Buffer> scratch_;       ///< one a worker
  std::vector<SamplerWorkspace> workspaces_;  ///< one a worker
};

}  // namespace tw::infer
