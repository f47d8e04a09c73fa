#include "train/run_sample.h"

#include <algorithm>
#include <cmath>

#include "base/mix64.h"

namespace tw::train {
namespace {

/// A sequence that grows by what is drawn.
class Sampler {
 public:
  /// `longest`: tokens in all, of which `most` may be given at a time.
  static base::Result<Sampler> make(Trainer& trainer, std::int64_t longest, std::int64_t most) {
    Sampler s(trainer);
    const spec::ModelConfig& c = trainer.transformer().config();
    const base::DType type = trainer.options().type;
    const std::int64_t blocks = (longest + kernels::kKvBlock - 1) / kernels::kKvBlock;
    const std::size_t plane = static_cast<std::size_t>(
        blocks * c.kv_heads * kernels::kv_head_elements(type, c.head_dim) * kernels::kv_element_bytes(type));
    TW_ASSIGN_OR_RETURN(s.cache_,
                        tensor::Buffer::allocate(2 * plane * c.layers, "a sample's keys and values"));
    for (std::int64_t layer = 0; layer < c.layers; ++layer) {
      std::byte* at = s.cache_.data() + 2 * plane * layer;
      s.kv_.layers.push_back({at, at + plane, type, kernels::kKvBlock, c.kv_heads, c.head_dim});
    }
    s.kv_.longest = blocks * kernels::kKvBlock;
    for (std::int64_t i = 0; i < blocks; ++i) s.blocks_.push_back(static_cast<std::int32_t>(i));
    TW_RETURN_IF_ERROR(s.allocate({1, most}));
    return s;
  }

  /// The logits after these tokens, which come after all that were given before.
  const std::vector<float>& next(std::span<const std::int32_t> tokens) {
    batch_.clear();
    batch_.add(tokens, past_, blocks_.data(), false, linears());
    batch_.want(batch_.rows() - 1);
    past_ += std::ssize(tokens);
    base::Team& team = trainer_.team();
    team.run([&](int worker) {
      ops::Exec ex(trainer_.table(), team.barrier(), worker, team.size(),
                   tensor::Arena(arena_.data(), arena_.size()), scratch_[worker].data(),
                   scratch_[worker].size());
      const ops::Tensor logits = run(ex);
      if (worker == 0) logits_.assign(logits.f32(), logits.f32() + trainer_.transformer().config().vocab);
    });
    return logits_;
  }

 private:
  explicit Sampler(Trainer& trainer) : trainer_(trainer) {}
  const ops::LowRank* linears() const {
    return trainer_.adapter() == nullptr ? nullptr : trainer_.adapter()->linears();
  }
  ops::Tensor run(ops::Exec& ex) const {
    const model::Transformer& t = trainer_.transformer();
    return t.logits(ex, t.forward(ex, batch_, kv_));
  }
  /// Memory for passes of any of so many tokens.
  base::Status allocate(std::initializer_list<std::int64_t> passes) {
    std::size_t peak = 0, scratch = 0;
    for (const std::int64_t rows : passes) {
      const std::vector<std::int32_t> ids(rows);
      batch_.clear();
      batch_.add(ids, 0, blocks_.data(), false, linears());
      batch_.want(rows - 1);
      ops::Trace trace;
      ops::Exec ex(trainer_.table(), trace);
      run(ex);
      peak = std::max(peak, ex.arena().peak());
      scratch = std::max(scratch, ex.scratch_peak());
    }
    TW_ASSIGN_OR_RETURN(arena_, tensor::Buffer::allocate(peak, "a sample's activations"));
    for (int i = 0; i < trainer_.team().size(); ++i) {
      scratch_.emplace_back();
      TW_ASSIGN_OR_RETURN(scratch_.back(), tensor::Buffer::allocate(scratch + 64, "a worker's scratch"));
    }
    return base::Ok{};
  }

  Trainer& trainer_;
  tensor::Buffer cache_, arena_;
  std::vector<tensor::Buffer> scratch_;
  model::KvView kv_;
  model::Batch batch_;
  std::vector<std::int32_t> blocks_;
  std::vector<float> logits_;
  std::int64_t past_ = 0;
};

/// `chance` in [0, 1).
std::int32_t draw(const std::vector<float>& logits, double temperature, double chance) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (temperature <= 0) return static_cast<std::int32_t>(best - logits.begin());
  double sum = 0;
  for (const float x : logits) sum += std::exp((x - *best) / temperature);
  double left = chance * sum;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    left -= std::exp((logits[i] - *best) / temperature);
    if (left < 0) return static_cast<std::int32_t>(i);
  }
  return static_cast<std::int32_t>(best - logits.begin());
}

}  // namespace

base::Result<std::string> draw_sample(Trainer& trainer, const text::Tokenizer& tokenizer,
                                      const spec::TrainSamples& wanted, std::uint64_t seed) {
  std::vector<std::int32_t> ids = tokenizer.encode(wanted.prompt);
  if (ids.empty()) ids.push_back(tokenizer.bos().value_or(tokenizer.eos().value_or(0)));
  const std::int64_t context = trainer.transformer().config().context;
  const auto given = std::min<std::int64_t>(std::ssize(ids), context - 1);
  if (given < 1) return std::string();
  ids.resize(given);
  const std::int64_t longest = std::min(context, given + wanted.tokens);
  TW_ASSIGN_OR_RETURN(Sampler sampler, Sampler::make(trainer, longest, given));
  std::size_t seen = 0;
  while (std::ssize(ids) < longest) {
    const std::vector<float>& logits = sampler.next(std::span(ids).subspan(seen));
    seen = ids.size();
    const double chance =
        static_cast<double>(base::mix64(seed + (seen + 1) * base::kMixStep) >> 11) * 0x1p-53;
    const std::int32_t id = draw(logits, wanted.temperature, chance);
    if (tokenizer.is_end_of_generation(id)) break;
    ids.push_back(id);
  }
  text::StreamingDetokenizer text(tokenizer);  // whose text is whole characters, whatever was drawn
  std::string out;
  for (const std::int32_t id : ids) out += text.push(id);
  return out + text.finish();
}

}  // namespace tw::train
