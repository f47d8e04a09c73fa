#include "infer/step_runner.h"

#include <algorithm>
#include <cstring>

#include "model/adapter.h"

namespace tw::infer {
namespace {

ops::Tensor rows_of(ops::Tensor x, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = x.row_stride();
  return {x.dtype, {end - begin, width}, x.data == nullptr ? nullptr : x.f32() + begin * width};
}

}  // namespace

StepRunner::StepRunner(const model::LoadedModel& model, base::Team& team)
    : model_(model), team_(team), workspaces_(team.size()) {}

base::Result<std::unique_ptr<StepRunner>> StepRunner::create(const model::LoadedModel& model,
                                                             const PagedKv& kv, base::Team& team,
                                                             int max_tokens) {
  std::unique_ptr<StepRunner> runner(new StepRunner(model, team));
  ops::Trace trace;
  ops::Exec ex(model.table(), trace);
  const std::vector<std::int32_t> tokens(max_tokens, 0);
  const std::int32_t no_block = 0;
  model::Batch worst;
  const auto adapter = model::Adapter::largest(model);
  worst.add(tokens, 0, &no_block, false, adapter->linears());
  for (int row = 0; row < max_tokens; ++row) worst.want(row);
  const ops::Tensor hidden = model.transformer().forward(ex, worst, kv.view());
  model.transformer().logits(ex, rows_of(hidden, 0, std::min<std::int64_t>(max_tokens, kLogitRows)));
  TW_ASSIGN_OR_RETURN(runner->activations_, tensor::Buffer::allocate(ex.arena().peak(), "activations"));
  // The first long prompt is not to wait for the kernel's zeros. Without an adapter, and with all rows of one
  // phase, it uses about half.
  team.run([&](int worker) {
    const std::size_t part = runner->activations_.size() / 2 / team.size();
    std::memset(runner->activations_.data() + worker * part, 0, part);
  });
  TW_ASSIGN_OR_RETURN(runner->between_layers_,
                      tensor::Buffer::allocate(hidden.bytes(), "rows between two layers"));
  for (int worker = 0; worker < team.size(); ++worker) {
    TW_ASSIGN_OR_RETURN(tensor::Buffer scratch,
                        tensor::Buffer::allocate(ex.scratch_peak(), "kernel scratch"));
    runner->scratch_.push_back(std::move(scratch));
  }
  return runner;
}

void StepRunner::run(model::Batch& batch, const std::vector<OutputRow>& outputs, const model::KvView& kv,
                     const Part& part) {
  for (const OutputRow& output : outputs) {
    for (std::int64_t i = 0; i < output.rows; ++i) batch.want(output.batch_row + i);
  }
  if (part.layers.begin > 0) close_gaps(part.owners);
  if (part.layers.end < model_.config().layers) owners_ = part.owners;
  Job job{batch, outputs, kv, part.layers};
  job.layers.rows = {base::DType::kF32, {batch.rows(), model_.config().width}, between_layers_.data()};
  const auto run = [&](int worker, int of) { work(worker, of, job); };
  if (part.workers == 0)
    team_.run_available(run);
  else
    team_.run(std::min(part.workers, team_.size()), run);
}

/// Makes the rows that wait those of these owners.
void StepRunner::close_gaps(const std::vector<Part::Owner>& owners) {
  const std::size_t bytes = static_cast<std::size_t>(model_.config().width) * sizeof(float);
  std::byte *from = between_layers_.data(), *to = from;
  auto next = owners.begin();
  for (const Part::Owner& before : owners_) {
    const std::size_t size = before.rows * bytes;
    if (next != owners.end() && *next == before) {
      if (from != to) std::memmove(to, from, size);
      to += size, ++next;
    }
    from += size;
  }
  TW_CHECK(next == owners.end(), "rows between two layers are those of the call before");
}

void StepRunner::work(int worker, int workers, const Job& job) {
  const std::vector<OutputRow>& outputs = job.outputs;
  const tensor::Buffer& scratch = scratch_[worker];
  ops::Exec ex(model_.table(), team_.barrier(), worker, workers,
               tensor::Arena(activations_.data(), activations_.size()), scratch.data(), scratch.size());
  ex.observe(inputs_);
  const ops::Tensor hidden = model_.transformer().forward(ex, job.batch, job.kv, job.layers);
  std::int64_t row = 0;  // of hidden, which has the wanted rows alone
  std::size_t next = 0;
  while (next < outputs.size() && outputs[next].kind != OutputRow::Kind::kHidden) {
    const std::size_t begin = next;
    std::int64_t rows = 0;
    for (; next < outputs.size() && outputs[next].kind != OutputRow::Kind::kHidden; ++next) {
      if (rows + outputs[next].rows > kLogitRows) break;
      rows += outputs[next].rows;
    }
    use_logits(ex, rows_of(hidden, row, row + rows), outputs, begin, next);
    row += rows;
  }
  if (worker != 0) return;
  for (; next < outputs.size(); ++next, ++row) {
    const std::int64_t width = hidden.row_stride();
    outputs[next].request->add_hidden({hidden.f32() + row * width, static_cast<std::size_t>(width)});
  }
}

void StepRunner::use_logits(ops::Exec& ex, ops::Tensor hidden, const std::vector<OutputRow>& outputs,
                            std::size_t begin, std::size_t end) {
  tensor::Arena::Scope scope(ex.arena());
  const ops::Tensor logits = model_.transformer().logits(ex, hidden);
  const std::int64_t vocab = logits.row_stride();
  std::int64_t row = 0;
  for (std::size_t i = begin; i < end; row += outputs[i].rows, ++i) {
    if (static_cast<int>((i - begin) % ex.workers()) == ex.worker()) {
      use_row(outputs[i], logits.f32() + row * vocab, vocab, workspaces_[ex.worker()]);
    }
  }
  ex.barrier();
}

void StepRunner::use_row(const OutputRow& output, float* logits, std::int64_t vocab,
                         SamplerWorkspace& workspace) const {
  const auto row = [&](std::int64_t i) {
    return std::span<float>(logits + i * vocab, static_cast<std::size_t>(vocab));
  };
  if (output.kind == OutputRow::Kind::kBest) {  // a vocabulary may be shorter than the matrix
    const auto known = static_cast<std::int64_t>(model_.card().tokenizer->size());
    *output.best = static_cast<std::int32_t>(std::max_element(logits, logits + known) - logits);
    return;
  }
  if (output.kind == OutputRow::Kind::kScore)
    return output.request->score(output.position, row(0), workspace);
  for (std::int64_t i = 0; i < output.rows && output.request->sample(row(i), workspace); ++i) {
  }
}

}  // namespace tw::infer
