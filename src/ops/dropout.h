// Dropout (arXiv 1207.0580): what training leaves out at random. Masks are never kept: whether a number stays
// is a function of where it stands, whatever the workers, the cut into batches, and however often it is
// asked.
#pragma once

#include <cstdint>

#include "kernels/train_args.h"
#include "tensor/tensor.h"

namespace tw::ops {

class Exec;

/// How much is left out, and what masks are drawn by.
struct Dropout {
  double branches = 0;   ///< of an embedding's rows, and of what layers add to the residual stream
  double attention = 0;  ///< of attention's weights, behind the softmax
  double adapters = 0;   ///< of what adapters read
  std::uint64_t seed = 0;
  std::int64_t step = 0;       ///< of the optimizer: masks come again after 2^32 of them
  std::int64_t first_row = 0;  ///< the batch's, among all rows of its step
};

// Sites: what a mask is of. No two have one in common, nor with infer's sampler, which draws at 0.
inline constexpr std::uint32_t kEmbeddingSite = 1;
enum class LayerSite : std::uint32_t { kAttention, kFfn };
inline constexpr std::uint32_t layer_site(std::int64_t layer, LayerSite site) {
  return 2 + 2 * static_cast<std::uint32_t>(layer) + static_cast<std::uint32_t>(site);
}
/// Of the weights of a layer's first query head; those of the others follow.
inline constexpr std::uint32_t weights_site(std::int64_t layer, std::int64_t heads) {
  return 0x40000000U + static_cast<std::uint32_t>(layer * heads);
}
/// Of a linear layer's adapter, by the layer's number.
inline constexpr std::uint32_t adapter_site(std::int64_t linear) {
  return 0x80000000U + static_cast<std::uint32_t>(linear);
}

// For src/ops alone.

/// What of a tensor [T, K] is left out. REQUIRES: 0 <= share < 1.
struct Mask {
  tensor::Shape shape;
  std::uint32_t site;
  double share;
};
/// The kernel's arguments but for memory and rows.
kernels::DropoutArgs dropout_args(const Dropout& dropout, const Mask& mask);
/// Of attention's weights, where training leaves some out.
bool drops_weights(const Exec& ex);
kernels::AttentionDropout attention_dropout(const Dropout& dropout, std::uint32_t site);
/// out = add (null: 0) + what the mask keeps of x, made larger by what is left out. Ends with a barrier.
void keep_some(Exec& ex, const Mask& mask, const float* x, const float* add, float* out);

}  // namespace tw::ops
