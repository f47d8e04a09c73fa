#include "plan/calibrate.h"

#include <algorithm>
#include <cstring>

#include "base/cpu.h"
#include "base/dtype.h"
#include "kernels/probe.h"
#include "kernels/ref/quantize.h"
#include "model/batch.h"
#include "plan/calibrate_train.h"
#include "plan/op_bench.h"
#include "plan/random_floats.h"

namespace tw::plan {
namespace {

using base::DType;
using ops::Tensor;

constexpr double kQuick = 7.5;   ///< seconds below which shapes are small ones alone
constexpr double kLearning = 4;  ///< seconds in which to see what is usual
constexpr std::size_t kMegabyte = std::size_t{1} << 20;

struct Shape {
  std::int64_t n, k;
};

/// Weights that take turns: one matrix alone lies in a cache, many come from memory.
struct Turns {
  std::size_t bytes;  ///< of all, and the place of what is measured
  std::vector<Shape> shapes;
};

/// A random matrix as a file has it.
base::Result<tensor::Buffer> random_matrix(DType type, const Shape& shape) {
  constexpr std::int64_t kDistinct = 16;  // rows: their numbers matter to nothing but power
  const std::size_t row = base::row_bytes(type, shape.k);
  TW_ASSIGN_OR_RETURN(tensor::Buffer rows, tensor::Buffer::allocate(row * shape.n, "a benchmark's weights"));
  const std::vector<float> numbers = random_floats(kDistinct * shape.k);
  for (std::int64_t r = 0; r < shape.n; ++r) {
    std::byte* to = rows.data() + r * row;
    if (r < kDistinct)
      kernels::quantize_row_closely(type, numbers.data() + r * shape.k, nullptr, to, shape.k);
    else
      std::memcpy(to, to - kDistinct * row, row);
  }
  return rows;
}

/// So many copies of one random matrix, one after the other as in a model. They lie in `memory`, which grows
/// to what they need and serves one ring after the other: touching a gigabyte anew takes longer than what is
/// measured.
class WeightRing {
 public:
  static base::Result<WeightRing> make(const kernels::Table& table, DType type, const Shape& shape,
                                       std::size_t bytes, tensor::Buffer& memory) {
    const kernels::MatmulKernel& kernel = *table.matmul[static_cast<int>(type)];
    const std::size_t row = base::row_bytes(type, shape.k);
    const std::size_t packed = tensor::PackedMatrix::packed_bytes(kernel, type, shape.n, shape.k);
    WeightRing ring;
    TW_ASSIGN_OR_RETURN(ring.source_, random_matrix(type, shape));
    const std::size_t one = ((packed > 0 ? packed : row * shape.n) + 63) / 64 * 64;
    const std::size_t count = std::max<std::size_t>(1, bytes / one);
    if (memory.size() < one * count) {
      TW_ASSIGN_OR_RETURN(memory, tensor::Buffer::allocate(one * count, "a benchmark's weights"));
    }
    for (std::size_t i = 0; i < count; ++i) {
      std::byte* at = memory.data() + i * one;
      const void* source = packed > 0 ? ring.source_.data() : at;
      const std::span<std::byte> panels = packed > 0 ? std::span(at, packed) : std::span<std::byte>();
      ring.matrices_.emplace_back(kernel, type, source, shape.n, shape.k, panels);
      if (i > 0)
        std::memcpy(at, memory.data(), one);
      else if (packed > 0)
        ring.matrices_[0].pack_panels(0, ring.matrices_[0].panels());
      else
        std::memcpy(at, ring.source_.data(), row * shape.n);
    }
    return ring;
  }
  const tensor::PackedMatrix& at(std::int64_t call) const { return matrices_[call % matrices_.size()]; }

 private:
  tensor::Buffer source_;
  std::vector<tensor::PackedMatrix> matrices_;
};

/// All that is measured with one number of workers.
class Calibration {
 public:
  Calibration(OpBench& bench, tensor::Buffer& memory, MachineCurves& out, bool quick)
      : bench_(bench), memory_(memory), out_(out), quick_(quick) {}

  base::Status products(DType type, const std::function<void()>& tick);
  base::Status embed(DType type);
  base::Status attention();
  base::Status rows();
  base::Status angles();
  base::Status host(const std::function<void(std::span<float>)>& pick);

 private:
  void add(Measured kind, std::string_view type, double rows, double size, double place, double seconds) {
    out_.add({kind, std::string(type), bench_.threads(), rows, size, place, std::max(seconds, 1e-9)});
  }
  /// Times all that wait, in turns.
  base::Status time_waiting() { return bench_.time(std::exchange(waiting_, {})); }
  /// They wait: for time_waiting(). `ring` must live until then.
  void product(DType type, const WeightRing& ring, const Shape& shape, bool prompt, std::int64_t rows,
               double place);
  base::Status attention_of(std::int64_t d, std::int64_t sequences, std::int64_t fresh, std::int64_t past);

  OpBench& bench_;
  std::vector<TimedOp> waiting_;
  tensor::Buffer& memory_;  ///< of rings
  MachineCurves& out_;
  bool quick_;
};

void Calibration::product(DType type, const WeightRing& ring, const Shape& shape, bool prompt,
                          std::int64_t rows, double place) {
  const auto x = std::make_shared<std::vector<float>>(random_floats(rows * shape.k));
  const auto size = static_cast<double>(shape.n * shape.k);
  waiting_.push_back({[=, &ring](ops::Exec& ex, std::int64_t call) {
                        const Tensor in{DType::kF32, {rows, shape.k}, x->data()};
                        ops::linear(ex, in, ring.at(call), prompt ? 0 : rows);
                      },
                      [=, this](double seconds) {
                        add(prompt ? Measured::kPromptProduct : Measured::kGeneratedProduct,
                            base::dtype_name(type), static_cast<double>(rows), size, place, seconds);
                      }});
}

base::Status Calibration::products(DType type, const std::function<void()>& tick) {
  const auto least = static_cast<std::int64_t>(base::dtype_info(type).block_elements);
  const std::int64_t small = std::max<std::int64_t>(64, least);
  std::vector<Turns> all = {{kMegabyte, {{64, small}, {192, small}, {256, 256}}}};
  std::vector<std::int64_t> generated = {1, 16}, prompts = {16, 64};
  if (!quick_) {
    const std::size_t most = base::detect_machine().memory_available / 8;
    all[0].shapes.push_back({512, 512});
    // Where workers' own caches end, and a shared one. Small matrices too: those of small models with many
    // layers.
    for (const std::size_t bytes : {4 * kMegabyte, 8 * kMegabyte})
      all.push_back({bytes, {{64, small}, {192, small}, {256, 256}, {512, 512}, {1024, 1024}}});
    for (const std::size_t bytes : {64 * kMegabyte, 128 * kMegabyte})
      all.push_back({bytes, {{512, 512}, {1024, 1024}, {2048, 2048}}});
    all.push_back({std::min(most, 1024 * kMegabyte), {{512, 512}, {1024, 1024}, {2048, 2048}, {5632, 2048}}});
    generated = {1, 2, 4, 8, 16, 32, 64}, prompts = {16, 64, 256, 512};
  }
  for (const Turns& turns : all) {
    const auto place = static_cast<double>(turns.bytes);
    for (const Shape& shape : turns.shapes) {
      TW_ASSIGN_OR_RETURN(const WeightRing ring,
                          WeightRing::make(bench_.table(), type, shape, turns.bytes, memory_));
      for (const std::int64_t rows : generated) product(type, ring, shape, false, rows, place);
      for (const std::int64_t rows : prompts) product(type, ring, shape, true, rows, place);
      TW_RETURN_IF_ERROR(time_waiting());
    }
    tick();
  }
  return embed(type);
}

base::Status Calibration::embed(DType type) {
  const Shape shape = quick_ ? Shape{64, 256} : Shape{4096, 1024};
  TW_ASSIGN_OR_RETURN(const tensor::Buffer rows, random_matrix(type, shape));
  const ops::EmbeddingTable table{type, rows.data(), shape.n, shape.k};
  for (const std::int64_t count :
       quick_ ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{1, 16, 256}) {
    std::vector<std::int32_t> ids(count);
    for (std::int64_t i = 0; i < count; ++i) ids[i] = static_cast<std::int32_t>(i * 101 % shape.n);
    const double bytes = static_cast<double>(count * shape.k) * sizeof(float);
    waiting_.push_back(
        {[&table, ids](ops::Exec& ex, std::int64_t) { ops::embed(ex, ids, table, nullptr); },
         [=, this](double seconds) { add(Measured::kEmbed, base::dtype_name(type), 1, bytes, 1, seconds); }});
  }
  return time_waiting();
}

base::Status Calibration::angles() {
  const std::vector<float> frequencies(quick_ ? 8 : 32, 0.1F);
  for (const std::int64_t count :
       quick_ ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{1, 16, 256}) {
    std::vector<std::int32_t> positions(count);
    for (std::int64_t i = 0; i < count; ++i) positions[i] = static_cast<std::int32_t>(i);
    const double bytes = 2.0 * sizeof(float) * static_cast<double>(count * std::ssize(frequencies));
    waiting_.push_back({[&frequencies, positions](ops::Exec& ex, std::int64_t) {
                          ops::rope_table(ex, positions, frequencies);
                        },
                        [=, this](double seconds) { add(Measured::kAngles, {}, 1, bytes, 1, seconds); }});
  }
  return time_waiting();
}

/// Sequences with a past of random keys and values, in a cache of some layers that take turns.
class CachedAttention {
 public:
  CachedAttention(std::int64_t d, std::int64_t sequences, std::int64_t fresh, std::int64_t past)
      : prompt_(fresh > 1),
        blocks_((past + fresh + kernels::kKvBlock - 1) / kernels::kKvBlock),
        rows_(sequences * fresh),
        longest_(past + fresh),
        shape_{kHeads, kKvHeads, d, 0, false, 0, 0},
        table_(sequences * blocks_),
        tokens_(fresh),
        q_(random_floats(rows_ * kHeads * d)) {
    for (std::size_t i = 0; i < table_.size(); ++i) table_[i] = static_cast<std::int32_t>(i);
    for (std::int64_t s = 0; s < sequences; ++s)
      batch_.add(tokens_, past, table_.data() + s * blocks_, !prompt_);
    counted_.add_group(sequences, fresh, past);
  }
  base::Status fill() {
    const std::int64_t d = shape_.head_dim;
    plane_ = std::ssize(table_) * kKvHeads * kernels::kv_head_elements(DType::kF16, d) * 2;
    TW_ASSIGN_OR_RETURN(cache_, tensor::Buffer::allocate(2 * kLayers * plane_, "a benchmark's cache"));
    const std::vector<float> numbers = random_floats(d * kernels::kKvBlock);
    const std::int64_t piece = static_cast<std::int64_t>(numbers.size()) * 2;
    kernels::quantize_row_closely(DType::kF16, numbers.data(), nullptr, cache_.data(), std::ssize(numbers));
    for (std::int64_t at = piece; at < 2 * kLayers * plane_; ++at)
      cache_.data()[at] = cache_.data()[at - piece];
    return base::Ok{};
  }
  void run(ops::Exec& ex, std::int64_t call) { run(ex, batch_, call); }
  double flops(const kernels::Table& table) {
    ops::Trace trace;
    ops::Exec tracing(table, trace);
    run(tracing, counted_, 0);
    return trace.ops.back().flops;
  }
  bool prompt() const { return prompt_; }

 private:
  static constexpr std::int64_t kHeads = 8, kKvHeads = 4, kLayers = 8;

  void run(ops::Exec& ex, const model::Batch& of, std::int64_t call) {
    std::byte* keys = cache_.data() + 2 * plane_ * (call % kLayers);
    const std::int64_t d = shape_.head_dim;
    const ops::AttentionPlace place{
        of.positions(), of.row_blocks(),
        of.tiles(),     {keys, keys + plane_, DType::kF16, kernels::kKvBlock, kKvHeads, d},
        longest_,       of.generated_rows(),
        of.groups()};
    ops::attention(ex, {{DType::kF32, {rows_, kHeads * d}, q_.data()}, {}, {}}, shape_, place);
  }

  bool prompt_;
  std::int64_t blocks_, rows_, longest_, plane_ = 0;
  ops::AttentionShape shape_;
  std::vector<std::int32_t> table_, tokens_;
  std::vector<float> q_;
  tensor::Buffer cache_;
  model::Batch batch_, counted_;
};

base::Status Calibration::attention_of(std::int64_t d, std::int64_t sequences, std::int64_t fresh,
                                       std::int64_t past) {
  const auto attention = std::make_shared<CachedAttention>(d, sequences, fresh, past);
  TW_RETURN_IF_ERROR(attention->fill());
  const Measured kind = attention->prompt() ? Measured::kPromptAttention : Measured::kGeneratedAttention;
  const double flops = attention->flops(bench_.table());
  waiting_.push_back(
      {[attention](ops::Exec& ex, std::int64_t call) { attention->run(ex, call); },
       [=, this](double seconds) { add(kind, {}, 1, flops, static_cast<double>(d), seconds); }});
  return base::Ok{};
}

base::Status Calibration::attention() {
  const std::vector<std::int64_t> sizes =
      quick_ ? std::vector<std::int64_t>{64} : std::vector<std::int64_t>{8, 16, 32, 64, 128};
  const std::vector<std::int64_t> lengths =
      quick_ ? std::vector<std::int64_t>{64} : std::vector<std::int64_t>{16, 64, 256, 512, 1024, 2048};
  for (const std::int64_t d : sizes) {
    for (const std::int64_t length : lengths) {
      TW_RETURN_IF_ERROR(attention_of(d, 1, 1, length));
      if (length <= 1024) TW_RETURN_IF_ERROR(attention_of(d, 1, length, 0));
    }
    if (!quick_) TW_RETURN_IF_ERROR(attention_of(d, 16, 1, 1024));
    TW_RETURN_IF_ERROR(time_waiting());
  }
  return base::Ok{};
}

base::Status Calibration::rows() {
  const std::vector<Shape> shapes =
      quick_ ? std::vector<Shape>{{1, 64}, {64, 64}}
             : std::vector<Shape>{{1, 64},    {1, 512},   {1, 2048},   {16, 512},
                                  {16, 2048}, {64, 2048}, {512, 1024}, {512, 4096}};
  struct Rows {
    std::vector<float> x, y, out, weight;
  };
  for (const Shape& s : shapes) {
    const std::vector<float> numbers = random_floats(s.n * s.k);
    const auto own = std::make_shared<Rows>(numbers, numbers, numbers, random_floats(s.k));
    const auto norm = [=](ops::Exec& ex, std::int64_t) {
      ops::rms_norm(ex, {DType::kF32, {s.n, s.k}, own->x.data()}, {DType::kF32, {s.k}, own->weight.data()},
                    1e-5);
    };
    ops::Trace trace;
    ops::Exec tracing(bench_.table(), trace);
    norm(tracing, 0);
    waiting_.push_back({norm, [this, bytes = trace.ops.back().activation_bytes](double seconds) {
                          add(Measured::kRows, {}, 1, bytes, 1, seconds);
                        }});
    // Inside a product: no barrier of its own, and in columns, as the workers' slices are.
    const auto activation = [=](ops::Exec& ex, std::int64_t) {
      if (ex.tracing()) return;
      ex.slice(s.k, 16, [&](std::int64_t begin, std::int64_t end) {
        ex.table().silu_mul({own->x.data(), own->y.data(), own->out.data(), 0, s.n, begin, end, s.k});
      });
    };
    waiting_.push_back({activation, [=, this](double seconds) {
                          const double bytes = 3.0 * sizeof(float) * static_cast<double>(s.n * s.k);
                          add(Measured::kActivation, {}, 1, bytes, 1, seconds);
                        }});
  }
  return time_waiting();
}

base::Status Calibration::host(const std::function<void(std::span<float>)>& pick) {
  for (const std::int64_t vocab : {512, 32768, 131072}) {
    const auto logits = std::make_shared<std::vector<float>>(random_floats(vocab));
    waiting_.push_back(
        {[=](ops::Exec& ex, std::int64_t) {
           if (ex.tracing() || ex.worker() != 0) return;
           if (pick) return pick(*logits);
           const volatile float best = *std::max_element(logits->begin(), logits->end());
           static_cast<void>(best);
         },
         [=, this](double seconds) { add(Measured::kPick, {}, 1, static_cast<double>(vocab), 1, seconds); }});
  }
  TW_RETURN_IF_ERROR(time_waiting());
  add(Measured::kStep, {}, 1, 1, 1, bench_.seconds_of([](int) {}));
  return base::Ok{};
}

std::vector<int> thread_counts(const CalibrateOptions& options, int all) {
  if (!options.threads.empty()) return options.threads;
  return all > 1 ? std::vector<int>{1, all} : std::vector<int>{1};
}

/// Files in fewer bits than Q6_K have their head in it (model::quantized_types).
std::vector<DType> with_heads(std::vector<DType> types) {
  const bool fewer =
      std::ranges::any_of(types, [](DType type) { return base::is_quantized(type) && type != DType::kQ8_0; });
  if (fewer && std::ranges::count(types, DType::kQ6_K) == 0) types.push_back(DType::kQ6_K);
  return types;
}

/// How often tick() is called for one type and number of workers, and for the rest.
constexpr int kTicksOfType = 6, kTicksOfRest = 4;

/// Everything once, with each op's share of the time.
base::Status measure_once(const CalibrateOptions& options, const kernels::Table& table, double seconds,
                          const std::vector<int>& counts, const std::vector<DType>& types,
                          const std::function<void()>& tick, UsualState& usual, MachineCurves& curves) {
  const bool quick = options.seconds < kQuick;
  tensor::Buffer memory;
  for (const int count : counts) {
    TW_ASSIGN_OR_RETURN(const auto bench, OpBench::make(table, count, seconds, &usual));
    Calibration calibration(*bench, memory, curves, quick);
    for (const DType type : types) TW_RETURN_IF_ERROR(calibration.products(type, tick));
    TW_RETURN_IF_ERROR(calibration.attention());
    tick();
    TW_RETURN_IF_ERROR(calibration.rows());
    TW_RETURN_IF_ERROR(calibration.angles());
    tick();
    TW_RETURN_IF_ERROR(calibration.host(options.pick));
    tick();
    TW_RETURN_IF_ERROR(calibrate_training(*bench, quick, curves));
    tick();
  }
  return base::Ok{};
}

/// Everything in two passes that lie minutes apart, for what others do to the machine for longer than it
/// takes to time some ops in turns; the mean of both counts.
base::Status measure(const CalibrateOptions& options, const kernels::Table& table,
                     const std::vector<int>& counts, const std::vector<DType>& types, UsualState& usual,
                     MachineCurves& curves) {
  const bool quick = options.seconds < kQuick;
  const int passes = quick ? 1 : 2;
  const double ticks = passes * static_cast<double>(counts.size()) *
                       (kTicksOfType * static_cast<double>(types.size()) + kTicksOfRest);
  double done = 0;
  const auto tick = [&] {
    done += 1;
    if (options.progress) options.progress(std::min(1.0, done / ticks));
  };
  // About as many measurements as there are of a type; the large shapes take longer than their share.
  const double points = ticks * (quick ? 5 : 40);
  std::vector<MeasuredPoint> means;
  for (int pass = 0; pass < passes; ++pass) {
    MachineCurves once;
    TW_RETURN_IF_ERROR(
        measure_once(options, table, 0.5 * options.seconds / points, counts, types, tick, usual, once));
    if (means.empty()) means.resize(once.points().size());
    for (std::size_t i = 0; i < means.size(); ++i) {  // both have the same points in the same order
      const double others = means[i].seconds;
      means[i] = once.points()[i];
      means[i].seconds = others + means[i].seconds / passes;
    }
  }
  for (MeasuredPoint& point : means) curves.add(std::move(point));
  return base::Ok{};
}

}  // namespace

std::vector<DType> usual_types() {
  return {DType::kBF16, DType::kF32, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ4_K, DType::kQ6_K};
}

base::Result<DType> weight_type(std::string_view name) {
  std::string known;
  for (int i = 0; i < base::kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    const bool plain = type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
    if ((!plain && !base::is_quantized(type)) || base::palette_bits(type) != 0) continue;
    if (base::dtype_name(type) == name) return type;
    known += (known.empty() ? "" : ", ") + std::string(base::dtype_name(type));
  }
  return base::error(base::Code::kInvalidArgument, "there are no weights in {}: known are {}", name, known);
}

base::Result<MachineCurves> calibrate(const CalibrateOptions& options) {
  TW_ASSIGN_OR_RETURN(const kernels::Table table,
                      kernels::make_table(options.isa, kernels::detect_features()));
  TW_ASSIGN_OR_RETURN(const base::Placement all, base::place_threads(0, {}));
  const std::vector<int> counts = thread_counts(options, static_cast<int>(all.size()));
  const std::vector<DType> types = with_heads(options.types.empty() ? usual_types() : options.types);
  const base::Machine machine = base::detect_machine();
  MachineCurves curves;
  curves.processor = machine.cpu_name.empty() ? "unknown" : machine.cpu_name;
  curves.kernels = table.name;
  curves.threads = *std::ranges::max_element(counts);
  const std::uint64_t memory = machine.memory_limit > 0 ? machine.memory_limit : machine.memory_bytes;
  curves.memory_gb = static_cast<double>(memory) / 0x1p30;
  const bool quick = options.seconds < kQuick;
  const kernels::Ceilings ceilings =
      kernels::probe_ceilings(curves.threads, quick ? kMegabyte : 1024 * kMegabyte);
  curves.bandwidth_gbs = ceilings.bytes_per_second / 1e9;
  curves.teraflops = ceilings.best(table.name == "amx" ? "bf16" : "").flops_per_second / 1e12;
  UsualState usual(table, options.seconds);
  {
    TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(curves.threads, {}));
    base::Team team(std::move(placement));
    usual.learn(team, quick ? 0.05 : kLearning);
  }
  curves.usual = usual.usual();
  TW_RETURN_IF_ERROR(measure(options, table, counts, types, usual, curves));
  if (options.progress) options.progress(1);
  return curves;
}

}  // namespace tw::plan
