#include "infer/step_runner.h"

#include <algorithm>

namespace tw::infer {
namespace {

// Logits of a step are made this many rows at a time: 64 rows of a 150k vocabulary are 38 MB, 512 would be
// 300.
constexpr std::int64_t kLogitRows = 64;

ops::Tensor rows_of(ops::Tensor x, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = x.row_stride();
  return {x.dtype, {end - begin, width}, x.data == nullptr ? nullptr : x.f32() + begin * width};
}

}  // namespace

StepRunner::StepRunner(const model::LoadedModel& model, int threads)
    : model_(model), team_(threads), workspaces_(threads) {}

base::Result<std::unique_ptr<StepRunner>> StepRunner::create(const model::LoadedModel& model,
                                                             const PagedKv& kv, int threads, int max_tokens) {
  std::unique_ptr<StepRunner> runner(new StepRunner(model, threads));
  ops::Trace trace;
  ops::Exec ex(model.table(), trace);
  const std::vector<std::int32_t> tokens(max_tokens, 0);
  const std::int32_t no_block = 0;
  model::Batch worst;
  worst.add(tokens, 0, &no_block, false);
  for (int row = 0; row < max_tokens; ++row) worst.want(row);
  const ops::Tensor hidden = model.transformer().forward(ex, worst, kv.view());
  model.transformer().logits(ex, rows_of(hidden, 0, std::min<std::int64_t>(max_tokens, kLogitRows)));
  TW_ASSIGN_OR_RETURN(runner->activations_, tensor::Buffer::allocate(ex.arena().peak(), "activations"));
  for (int worker = 0; worker < threads; ++worker) {
    TW_ASSIGN_OR_RETURN(tensor::Buffer scratch,
                        tensor::Buffer::allocate(ex.scratch_peak(), "kernel scratch"));
    runner->scratch_.push_back(std::move(scratch));
  }
  return runner;
}

void StepRunner::run(model::Batch& batch, const std::vector<OutputRow>& outputs, const model::KvView& kv) {
  for (const OutputRow& output : outputs) batch.want(output.batch_row);
  team_.run([&](int worker) { work(worker, batch, outputs, kv); });
}

void StepRunner::work(int worker, const model::Batch& batch, const std::vector<OutputRow>& outputs,
                      const model::KvView& kv) {
  const tensor::Buffer& scratch = scratch_[worker];
  ops::Exec ex(model_.table(), team_.barrier(), worker, team_.size(),
               tensor::Arena(activations_.data(), activations_.size()), scratch.data(), scratch.size());
  const ops::Tensor hidden = model_.transformer().forward(ex, batch, kv);
  const auto is_hidden = [](const OutputRow& output) { return output.kind == OutputRow::Kind::kHidden; };
  const auto first_hidden = std::find_if(outputs.begin(), outputs.end(), is_hidden);
  const auto logit_rows = static_cast<std::int64_t>(first_hidden - outputs.begin());
  for (std::int64_t begin = 0; begin < logit_rows; begin += kLogitRows) {
    use_logits(ex, hidden, outputs, begin, std::min(begin + kLogitRows, logit_rows));
  }
  if (worker != 0) return;
  for (auto i = static_cast<std::size_t>(logit_rows); i < outputs.size(); ++i) {
    const std::int64_t width = hidden.row_stride();
    outputs[i].request->add_hidden(
        {hidden.f32() + static_cast<std::int64_t>(i) * width, static_cast<std::size_t>(width)});
  }
}

void StepRunner::use_logits(ops::Exec& ex, ops::Tensor hidden, const std::vector<OutputRow>& outputs,
                            std::int64_t begin, std::int64_t end) {
  tensor::Arena::Scope scope(ex.arena());
  const ops::Tensor logits = model_.transformer().logits(ex, rows_of(hidden, begin, end));
  const std::int64_t vocab = logits.row_stride();
  ex.each(end - begin, [&](std::int64_t i) {
    const OutputRow& output = outputs[begin + i];
    const std::span<float> row(logits.f32() + i * vocab, static_cast<std::size_t>(vocab));
    SamplerWorkspace& workspace = workspaces_[ex.worker()];
    if (output.kind == OutputRow::Kind::kSample)
      output.request->sample(row, workspace);
    else
      output.request->score(output.position, row, workspace);
  });
  ex.barrier();
}

}  // namespace tw::infer
