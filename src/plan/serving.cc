#include "plan/serving.h"

#include <cmath>

#include "plan/memory.h"

namespace tw::plan {
namespace {

constexpr double kUsable = 0.9;  ///< of the memory (gpu-memory-utilization of vLLM, and near it elsewhere)

}  // namespace

double cache_tokens(const ServeCosts& costs, double memory_bytes) {
  return (kUsable * memory_bytes - costs.framework_bytes() - costs.weight_bytes()) / costs.cache_bytes();
}

ServeBasis serve_basis(ServeCosts& costs, const ServeStack& stack, ServeLoad load, double memory_bytes) {
  ServeBasis b;
  load.input *= (1 + load.shortest) / 2, load.output *= (1 + load.shortest) / 2;
  const double held = load.input + stack.reserved * load.output, middle = load.input + load.output / 2;
  const double room = std::max(1.0, std::floor(cache_tokens(costs, memory_bytes) / held));
  b.batch = std::min({load.concurrency, room, load.running > 0 ? load.running : room});
  b.output = load.output;
  b.stages = costs.split().pipeline;
  b.share = stack.policy == StepPolicy::kPromptsFirst && load.shortest == 1 ? 0.5 : 1;
  b.answers = costs.step({b.batch, b.batch * middle, 0, 0, 0});
  // As many prompts in a step as fit it, of those there are.
  const double most = load.step_tokens > 0 ? load.step_tokens : stack.step_tokens;
  const auto prompt_of = [&](double computed, double* together) {
    *together = std::clamp(std::floor(most / computed), 1.0, b.batch);
    const double pairs = computed * (load.input - computed + (computed + 1) / 2);
    ServeStep step = costs.added({0, 0, *together * computed, *together * pairs, load.input});
    for (double* part : {&step.prompt_products, &step.memory, &step.network}) *part /= *together;
    return step;
  };
  double together = 1, together_whole = 1;
  b.prompt = prompt_of(load.computed(load.input), &together);
  if (load.reused > 0 && load.fresh > 0) {
    const ServeStep whole = prompt_of(load.input, &together_whole);
    const auto mix = [&](double& part, double other) { part += load.fresh * (other - part); };
    mix(b.prompt.prompt_products, whole.prompt_products);
    mix(b.prompt.memory, whole.memory), mix(b.prompt.network, whole.network);
  }
  if (b.batch + load.computed(load.input) <= stack.graph_tokens)
    b.prompt.launches *= load.reused > 0 ? load.fresh : 0;
  b.receive = load.receive;
  const double meanwhile = std::clamp(b.batch * load.receive / load.output, 1.0, together);
  // Lengths that vary break waves up, and short steps of known prompts make none.
  b.together = load.shortest < 1 || load.reused > 0 ? meanwhile : together;
  return b;
}

double prompt_seconds(const ServeStep& p, const ServeConstants& c) {
  return p.prompt_products * c[static_cast<int>(ServeConstant::kPrompt)] +
         p.memory / c[static_cast<int>(ServeConstant::kMemory)] + p.network;
}

double first_token_seconds(const ServeBasis& b, const ServeConstants& c) {
  const double step = serve_seconds(b.answers, c);
  return b.receive * step / 2 +
         std::max(step + b.stages * prompt_seconds(b.prompt, c), launch_seconds(b.prompt, c));
}

double output_token_seconds(const ServeBasis& b, const ServeConstants& c) {
  const double step = serve_seconds(b.answers, c);
  const double longer = (launch_seconds(b.prompt, c) - step) / b.together;
  return step +
         b.share * std::max(0.0, b.batch - 1) / b.output * std::max(prompt_seconds(b.prompt, c), longer);
}

}  // namespace tw::plan
