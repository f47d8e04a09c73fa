// For tests: an op, or several, run by workers in memory that a traced run has sized.
#pragma once

#include <thread>
#include <vector>

#include "ops/exec.h"
#include "tensor/memory.h"

namespace tw::ops {

/// The numbers of what op(Exec&) returns; `trace` has its costs. `traced` is called between the two runs.
template <typename Op, typename Traced>
std::vector<float> run_on_workers(const kernels::Table& table, int workers, Trace& trace, Op&& op,
                                  const Traced& traced) {
  trace = {};
  Exec tracing(table, trace);
  op(tracing);
  traced();
  const std::size_t peak = tracing.arena().peak();
  const auto arena = tensor::Buffer::allocate(peak, "test arena").value();
  std::vector<tensor::Buffer> scratch;
  for (int i = 0; i < workers; ++i)
    scratch.push_back(tensor::Buffer::allocate(tracing.scratch_peak(), "test scratch").value());
  base::Barrier barrier(workers);
  std::vector<float> out;
  std::vector<std::thread> threads;
  for (int worker = 0; worker < workers; ++worker) {
    threads.emplace_back([&, worker] {
      Exec ex(table, barrier, worker, workers, tensor::Arena(arena.data(), peak), scratch[worker].data(),
              tracing.scratch_peak());
      const Tensor result = op(ex);
      if (worker == 0) out.assign(result.f32(), result.f32() + result.shape.elements());
    });
  }
  for (std::thread& thread : threads) thread.join();
  return out;
}

}  // namespace tw::ops
