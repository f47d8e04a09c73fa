// The fused ops a decoder is written with. T: rows of the step. Every op follows the rules in exec.h; inputs
// are complete (a barrier lies behind them) and so is the output when the op returns.
#pragma once

#include <cstdint>
#include <span>

#include "ops/prepared.h"
#include "tensor/packed_matrix.h"

namespace tw::ops {

using tensor::PackedMatrix;

/// Rows of an embedding table as it lies in the file.
struct EmbeddingTable {
  DType type = DType::kF32;
  const void* rows = nullptr;  ///< [V, D]
  std::int64_t vocab = 0, width = 0;
  std::int32_t tape_id = -1;       ///< Tensor's
  const void* palettes = nullptr;  ///< of palettized types: their tables
};

/// Learned positions (GPT-2): where each row stands, and a table with a row for every position.
struct LearnedPositions {
  std::span<const std::int32_t> positions;  ///< [T]
  EmbeddingTable table;
};

/// out[t] = table[ids[t]] (+ learned.table[learned.positions[t]]): [T, D]. REQUIRES: every id is in [0, V),
/// and every learned position in its table.
Tensor embed(Exec& ex, std::span<const std::int32_t> ids, const EmbeddingTable& table,
             const LearnedPositions* learned = nullptr);

/// to = x, where they are not the same memory: [T, D]. Of steps that do not train.
void copy(Exec& ex, Tensor x, Tensor to);

/// out[r] = x[rows[r]]: [R, D].
Tensor gather_rows(Exec& ex, Tensor x, std::span<const std::int32_t> rows);

/// RMSNorm (arXiv 1910.07467): x / sqrt(mean(x^2) + epsilon) * weight. x [T, D], weight [D].
Tensor rms_norm(Exec& ex, Tensor x, Tensor weight, double epsilon);

/// The same for an op that multiplies it with these weights and needs it for nothing else: a step that does
/// not train makes what they take, if that is one form, without writing the rows down. As an op's
/// `generated`.
Input rms_norm_for(Exec& ex, Tensor x, Tensor weight, double epsilon,
                   std::span<const PackedMatrix* const> weights, std::int64_t generated);

/// LayerNorm (arXiv 1607.06450): (x - mean) / sqrt(variance + epsilon) * weight + bias. x [T, D], weight and
/// bias [D].
Tensor layer_norm(Exec& ex, Tensor x, Tensor weight, Tensor bias, double epsilon);

// `generated`: rows [0, generated) of a step are generated tokens and take the decode kernels, the others are
// of prompts and take the prefill kernels (DESIGN, Same bits).

// Dropout: Exec::train says how much. A step that does not train leaves nothing out.

/// x, of which training leaves some out; else x itself. In x's memory: nobody else reads it.
Tensor dropout(Exec& ex, Tensor x, std::uint32_t site);

/// What an op adds to a residual stream, of which training leaves some out: the op is told residual() and
/// out(), and end() does what is left to do. Where nothing is left out, the op adds at once.
class Branch {
 public:
  /// out = residual + the branch. `out` [T, D] is given, as linear_residual's.
  Branch(Exec& ex, Tensor residual, Tensor out, std::uint32_t site);
  Tensor residual() const { return drops_ ? Tensor{} : residual_; }
  Tensor out() const { return made_; }
  /// The `out` that was given, complete.
  Tensor end();

 private:
  Exec& ex_;
  Tensor residual_, out_, made_;  ///< made_: the op's, in out_'s memory
  std::uint32_t site_;
  bool drops_;
};

/// What an adapter adds to a linear layer (LoRA, arXiv 2106.09685): y += scale * (x · Aᵀ) · Bᵀ.
struct LowRank {
  const PackedMatrix *a = nullptr, *b = nullptr;  ///< A [r, K] and B [N, r]; null: nothing is added
  float scale = 1;
};
/// Consecutive rows of a step, of one phase, that have an adapter.
struct AdapterRun {
  std::int64_t begin, end;
  const LowRank* linears;  ///< by the number of the linear layer
};
/// Those of a step as an op is told of them. Rows of no run have the bits they would have without any.
struct Adapters {
  std::span<const AdapterRun> runs = {};  ///< in the order of their rows
  std::int64_t linear = 0;                ///< number of the op's first linear layer; its others follow
};

/// x · Wᵀ (+ bias): x [T, K], W [N, K], bias [N] or empty; out [T, N].
Tensor linear(Exec& ex, Tensor x, const PackedMatrix& weight, std::int64_t generated, Tensor bias = {});

/// out = residual + x · Wᵀ (+ bias). `out` [T, N] is given, so that it may outlive the arena scope of a
/// layer. In training the residual may be missing, as Branch wants it: then nothing is added to.
void linear_residual(Exec& ex, Tensor x, const PackedMatrix& weight, std::int64_t generated, Tensor residual,
                     Tensor out, const Adapters& adapters = {}, Tensor bias = {});

/// out = residual + (silu(x · Gᵀ) * (x · Uᵀ)) · Dᵀ: the gated feed-forward layer (arXiv 2002.05202). x and
/// residual [T, D]; gate and up [F, D], down [D, F]; out as linear_residual's. Adapters: gate, up, down.
void gated_ffn(Exec& ex, const Input& x, const PackedMatrix& gate, const PackedMatrix& up,
               const PackedMatrix& down, std::int64_t generated, Tensor residual, Tensor out,
               const Adapters& adapters = {});

struct GeluWeights {
  const PackedMatrix *up = nullptr, *down = nullptr;  ///< [F, D], [D, F]
  Tensor up_bias, down_bias;                          ///< [F], [D]; empty: none
};
/// out = residual + gelu(x · Uᵀ + b) · Dᵀ + b: the feed-forward layer without a gate (GPT-2), of GELU's tanh
/// form (arXiv 1606.08415). As gated_ffn else. Adapters: up, down.
void gelu_ffn(Exec& ex, Tensor x, const GeluWeights& weights, std::int64_t generated, Tensor residual,
              Tensor out, const Adapters& adapters = {});

/// A mixture of gated experts (arXiv 2101.03961, 2401.06066), of which this rank has `local` of `experts`.
struct ExpertWeights {
  const PackedMatrix* router = nullptr;                    ///< [experts, D]
  std::span<const PackedMatrix* const> gates, ups, downs;  ///< of the local experts: gated_ffn's
  std::int64_t experts = 0, local = 0, chosen = 0;
  bool normed = true;  ///< the weights of a row's experts add up to 1; else they are softmax's over all
  /// Learning, an expert takes at most capacity * T * chosen / experts rows, rounded up: of all rows'
  /// likeliest experts the first ones, then of their second ones. The others go on without it (arXiv
  /// 2006.16668, 2101.03961). 0, and in any run without a tape: all rows that want it.
  double capacity = 0;
};
/// out = residual + sum of weight * (silu(x · Gᵀ) * (x · Uᵀ)) · Dᵀ over the `chosen` experts that the router
/// finds likeliest for a row (of equals the first ones), added in the order of likelihood. As gated_ffn else,
/// but that the router is multiplied by the decode kernels in any phase: a choice should not hang on bf16.
/// Experts on other ranks can be traced alone.
void moe_ffn(Exec& ex, Tensor x, const ExpertWeights& weights, std::int64_t generated, Tensor residual,
             Tensor out);

/// The expert that every row takes: gated_ffn's matrices, and how much it counts for a row.
struct SharedExpert {
  const PackedMatrix *gate = nullptr, *up = nullptr, *down = nullptr;
  Tensor share;  ///< [D], empty: it counts as it is
};
/// out = residual + sigmoid(x · share) * (silu(x · Gᵀ) * (x · Uᵀ)) · Dᵀ. As gated_ffn else.
void shared_ffn(Exec& ex, Tensor x, const SharedExpert& expert, std::int64_t generated, Tensor residual,
                Tensor out, const Adapters& adapters = {});

/// Cosines and sines of a step's rotary angles (arXiv 2104.09864): both [T, d/2].
struct RopeTable {
  Tensor cos, sin;      ///< no shape: nothing is rotated
  Tensor negative_sin;  ///< for the rotation back, when training; else none
};
/// Angle of pair i at position p: p * inverse_frequencies[i].
RopeTable rope_table(Exec& ex, std::span<const std::int32_t> positions,
                     std::span<const float> inverse_frequencies);

/// Where the rows of a step stand in their sequences, and where the keys and values live.
struct AttentionPlace {
  std::span<const std::int32_t> positions;          ///< [T]
  std::span<const std::int32_t* const> row_blocks;  ///< [T]: block table of the row's sequence
  struct Tile {
    std::int32_t row_begin, row_end;  ///< consecutive rows of one sequence and phase, at most kAttentionRows
  };
  std::span<const Tile> tiles;  ///< all rows, each once
  kernels::KvLayer kv;          ///< this layer's cache
  std::int64_t longest = 0;     ///< largest position + 1 that this engine will ever see
  std::int64_t generated = 0;   ///< rows [0, generated) are of generated tokens
  /// For tracing: `count` sequences with `fresh` rows each after `past` tokens. Empty: the worst step.
  struct Group {
    std::int64_t count, fresh, past;
  };
  std::span<const Group> groups = {};
};

struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t sliding_window = 0;
  bool interleaved = false;
  double norm_epsilon = 0;
  std::int64_t value_dim = 0;  ///< of a head's values; 0: head_dim
};

/// The projections of attention: weights, and what some families add.
struct QkvWeights {
  const PackedMatrix* q = nullptr;
  const PackedMatrix* k = nullptr;
  const PackedMatrix* v = nullptr;
  Tensor q_bias, k_bias, v_bias;  ///< empty: none
  Tensor q_norm, k_norm;          ///< [d], empty: none
  Adapters adapters = {};         ///< q, k, v
};

/// Queries [T, H * d] and, when training, the keys and values [T, Hk * d] that went to the cache.
struct Qkv {
  Tensor q, k, v;
};

/// q, k, v = x · Wᵀ + b, each head of q and k normalised if asked, rotated if asked; k and v go to the cache.
/// x [T, D].
Qkv qkv_rope(Exec& ex, const Input& x, const QkvWeights& weights, const RopeTable& rope,
             const AttentionShape& shape, const AttentionPlace& place);

/// softmax(q · Kᵀ / sqrt(d)) · V over the sequence's cache up to the row's own position: [T, H * d]. Only q
/// is needed, but for training: then k and v too, and every sequence is whole, from position 0 on. `site`: of
/// dropout of the softmax's weights, weights_site of the layer.
Tensor attention(Exec& ex, const Qkv& qkv, const AttentionShape& shape, const AttentionPlace& place,
                 std::uint32_t site = 0);

/// What a teacher says should follow each row (distillation, arXiv 1503.02531): its likeliest tokens.
struct TeacherRows {
  std::span<const std::int32_t> ids;     ///< [R, top], each in [0, V)
  std::span<const float> probabilities;  ///< [R, top]: those of a row add up to 1
  std::int64_t top = 0;                  ///< 0: there is no teacher
  float weight = 0;                      ///< the teacher's, from 0 to 1; the label has the rest
  float temperature = 1;                 ///< divides the logits that are held against the teacher's
  std::span<float> losses = {};          ///< [R]: where temperature² * cross-entropy with the teacher goes
};

/// What is learnt from rows of hidden states.
struct LossRows {
  std::span<const std::int32_t> targets;  ///< [R]
  std::span<const float> weights;         ///< [R]
  float scale = 1;                        ///< of all weights: 1 / their sum over a whole step
  float z_loss = 0;                       ///< weight of log(sum(exp(logits)))² (arXiv 2204.02311)
  TeacherRows teacher = {};               ///< only training asks it
  /// Logits of a frozen weight may be rounded to bf16, as those of one that is learnt in bf16 are.
  bool rounded = false;
};

/// Cross-entropy of softmax(x · Wᵀ) at each row's target: [R], not weighted. x [R, D], W [V, D]. Training,
/// the step's loss is the sum of scale * weight * (cross-entropy + z-loss), or with a teacher of scale *
/// weight * ((1 - t) * (cross-entropy + z-loss) + t * the teacher's loss). A few rows' logits exist at a
/// time. Training, the losses are there after the tape was walked back.
Tensor linear_cross_entropy(Exec& ex, Tensor x, const PackedMatrix& weight, const LossRows& rows);

/// Where the likeliest tokens of rows go, and softmax(logits / temperature) over them alone.
struct TopRows {
  std::span<std::int32_t> ids;     ///< [R, top], the likeliest first
  std::span<float> probabilities;  ///< [R, top]
  std::int64_t top = 1;            ///< at most V
  float temperature = 1;
};
/// Of the logits x · Wᵀ, of which a few rows exist at a time: what TeacherRows takes.
void linear_top(Exec& ex, Tensor x, const PackedMatrix& weight, const TopRows& rows);

/// Pairs of answers, one after the other, each document a prompt with its answer: first the chosen one, then
/// the rejected.
struct PreferenceRows {
  std::span<const std::int32_t> targets;  ///< [R]
  std::span<const float> weights;         ///< [R]: 1 where the answer is predicted, else 0
  std::span<const std::int32_t> offsets;  ///< [2 * pairs + 1]: where each document begins; the last is R
  std::span<const float> reference;       ///< [R]: cross-entropy by the model that answers are held against
  float beta = 0.1F;                      ///< how strongly that one holds back
  float scale = 1;                        ///< 1 / the pairs of a whole step
  std::span<float> rewards = {};          ///< [2 * pairs]: where beta * log(p / p_reference) goes
};
/// DPO's loss of each pair (arXiv 2305.18290): [pairs]. Training, the step's loss is scale * their sum.
Tensor linear_preference(Exec& ex, Tensor x, const PackedMatrix& weight, const PreferenceRows& rows);

// Collectives of a divided model. With one rank they hand back what they were given; with more, only traces
// know them yet. Their adjoints: gather <-> reduce.

/// Before a column-parallel product: all rows of a sequence-parallel x; else x itself.
Tensor gather_rows_of_ranks(Exec& ex, Tensor x);
/// After a row-parallel product: the sum over the tensor-parallel ranks, of this rank's rows if
/// sequence-parallel.
Tensor sum_over_ranks(Exec& ex, Tensor x);

// An op that has shapes and costs and cannot run yet: outside a trace it ends the program, naming itself.
// spec::ModelConfig::runnable() says so before.

/// Multi-head latent attention (arXiv 2405.04434): the projections of queries, and of keys and values,
/// through a narrow middle.
struct LatentWeights {
  const PackedMatrix *q_down = nullptr, *q_up = nullptr;  ///< q_down null: queries straight by q_up
  const PackedMatrix *kv_down = nullptr, *kv_up = nullptr;
};
/// q [T, H * d].
Tensor latent_qkv(Exec& ex, Tensor x, const LatentWeights& weights, const AttentionShape& shape,
                  const AttentionPlace& place);

}  // namespace tw::ops
