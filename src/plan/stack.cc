#include "plan/stack.h"

namespace tw::plan {

Stack stack_of(std::string_view system) {
  struct Known {
    std::string_view beginning;
    Stack stack;
  };
  static const Known kKnown[] = {
      {"Megatron-LM SC21 Table 2 ZeRO-3", {"DeepSpeed ZeRO-3 2021", false, 1, true, false}},
      {"Megatron-LM SC21", {"Megatron-LM 2021", false, 1, false, false}},
      {"Megatron-LM Korthikanti", {"Megatron-LM 2022", false, 1, false, false}},
      {"Megatron-DeepSpeed (vTrain", {"Megatron-DeepSpeed on vTrain's cluster", false, 1, false, false}},
      {"Megatron-DeepSpeed BLOOM", {"Megatron-DeepSpeed of BLOOM", false, 1, false, false}},
      {"Megatron-DeepSpeed Frontier", {"Megatron-DeepSpeed on Frontier", true, 1, false, false}},
      {"Megatron-Bridge", {"Megatron-Bridge", true, 1, true, true}},
      {"NeMo", {"NeMo", true, 1, true, true}},
      {"llm-foundry",
       {"llm-foundry", true, 0.65, true, false}},        // in Triton, 1.3 to 2 times slower than FA 2 (ibid.)
      {"LLaMA-1", {"LLaMA-1", true, 0.5, true, false}},  // xformers of 2022: FlashAttention 1
      {"MaxText v5p", {"MaxText on TPU", true, 1, true, true}},
      {"MaxText", {"MaxText on GPU", true, 1, true, false}},
      {"llm.c CPU", {"llm.c on CPU", false, 1, false, false}},
  };
  for (const Known& known : kKnown) {
    if (system.starts_with(known.beginning)) return known.stack;
  }
  // "name (details)" and "name 1.2" are the stack "name".
  std::string name(system.substr(0, system.find_first_of("(0123456789")));
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return {name.empty() ? std::string(system) : name, true, 1, true, false};
}

}  // namespace tw::plan
