#include "plan/serve_stack.h"

#include <algorithm>
#include <cctype>

namespace tw::plan {

double ServeStack::cache_bytes(Precision precision, const Accelerator& a) const {
  if (precision == Precision::kBf16 || narrow_cache == NarrowCache::kNo) return 2;
  return narrow_cache == NarrowCache::kYes || is_blackwell(a) ? 1 : 2;
}

ServeStack serve_stack_of(std::string_view system) {
  using Narrow = ServeStack::NarrowCache;
  std::string name(system.substr(0, system.find(' ')));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  // TensorRT-LLM batches in flight up to max_num_tokens (8192) and does not cut prompts unless told; its
  // quantized checkpoints have an FP8 cache, and it reserves whole answers (GUARANTEED_NO_EVICT); the others
  // reserve less and preempt: half, the mean of what answers take. vLLM cuts them (max_num_batched_tokens),
  // and InferenceX gives it an FP8 cache on Blackwell. SGLang runs prompts first in chunks of 8192
  // (--enable-mixed-chunk is off). Graphs hold steps of answers alone; vLLM's hold any step of up to 512
  // tokens (cudagraph_capture_sizes).
  if (name.starts_with("trtllm") || name.starts_with("tensorrt"))
    return {"TensorRT-LLM", StepPolicy::kWholePrompts, 8192, Narrow::kYes, 1};
  if (name.starts_with("sglang")) return {"SGLang", StepPolicy::kPromptsFirst, 8192, Narrow::kNo, 0.5};
  if (name.starts_with("vllm")) return {"vLLM", StepPolicy::kMixed, 8192, Narrow::kBlackwell, 0.5, 512};
  return {std::string(system), StepPolicy::kMixed, 8192, Narrow::kNo, 0.5};
}

}  // namespace tw::plan
