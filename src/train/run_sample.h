// What a model that is being trained writes: tokens drawn with its live weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spec/train_config.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

namespace tw::train {

/// Draws up to `wanted.tokens` tokens after the prompt, by the trainer's weights as they are: temperature
/// alone, the generator of (seed, place). Stops at the end of a text and at the model's context. For the
/// trainer's thread. Fails when the cache of keys and values cannot be allocated.
base::Result<std::string> draw_sample(Trainer& trainer, const text::Tokenizer& tokenizer,
                                      const spec::TrainSamples& wanted, std::uint64_t seed);

}  // namespace tw::train
