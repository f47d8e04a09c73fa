#include "cli/bench_run.h"

#include <algorithm>
#include <future>
#include <memory>
#include <utility>

namespace tw::cli {
namespace {

/// Tokens no two of which make the same prompt, so that the prefix cache stays out of the measurement.
std::vector<std::int32_t> random_prompt(int length, std::size_t vocabulary, std::uint64_t& state) {
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < length; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX generator
    tokens.push_back(static_cast<std::int32_t>((state >> 33) % vocabulary));
  }
  return tokens;
}

/// When a request's tokens came. Filled on the engine's thread until the last chunk.
struct Arrivals {
  struct Piece {
    infer::Clock::time_point time;
    std::size_t tokens;
  };
  std::vector<Piece> pieces;
  infer::FinishReason finish = infer::FinishReason::kLength;
};

/// Holds the engine's thread back at the first token of any request until all are handed in: on a busy
/// machine the first sequences of a tiny model would else end before the last one came. Opens when it goes,
/// so that an error leaves nobody waiting.
class Gate {
 public:
  ~Gate() { open(); }
  void open() {
    if (!std::exchange(is_open_, true)) all_in_.set_value();
  }
  std::shared_future<void> waiting() const { return future_; }

 private:
  bool is_open_ = false;
  std::promise<void> all_in_;
  std::shared_future<void> future_ = all_in_.get_future().share();
};

base::Result<std::future<Arrivals>> submit(infer::Engine& engine, const std::vector<std::int32_t>& prompt,
                                           int generate, const std::shared_future<void>& all_in) {
  infer::GenerateRequest request;
  request.prompt = prompt;
  request.max_tokens = generate + 1;
  request.ignore_eos = true;
  request.sampling.temperature = 0;
  auto promise = std::make_shared<std::promise<Arrivals>>();
  auto arrivals = std::make_shared<Arrivals>();
  std::future<Arrivals> done = promise->get_future();
  const auto sink = [promise, arrivals, all_in](const infer::Chunk& chunk) {
    all_in.wait();
    if (!chunk.tokens.empty()) arrivals->pieces.push_back({infer::Clock::now(), chunk.tokens.size()});
    if (!chunk.finish) return;
    arrivals->finish = *chunk.finish;
    promise->set_value(std::move(*arrivals));
  };
  TW_RETURN_IF_ERROR(engine.submit(std::move(request), sink));
  return done;
}

double seconds(infer::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

struct Run {
  double prefill_seconds = 0;  ///< until the last request has its first token
  double decode_rate = 0;      ///< tokens/s of all requests while all of them decode
};

/// Decoding counts while every request does: from the last one's first token until the first one ends. Each
/// request is timed between tokens of its own, so that it does not matter where in a step the window begins.
base::Result<double> decode_rate(const std::vector<Arrivals>& all) {
  infer::Clock::time_point begin = infer::Clock::time_point::min(), end = infer::Clock::time_point::max();
  for (const Arrivals& one : all) {
    begin = std::max(begin, one.pieces.front().time);
    end = std::min(end, one.pieces.back().time);
  }
  double rate = 0;
  for (const Arrivals& one : all) {
    const Arrivals::Piece *first = nullptr, *last = nullptr;
    std::size_t tokens = 0;
    for (const Arrivals::Piece& piece : one.pieces) {
      if (piece.time < begin || piece.time > end) continue;
      if (first == nullptr) {
        first = &piece;
      } else {
        tokens += piece.tokens;
      }
      last = &piece;
    }
    if (tokens == 0) {
      return base::error(base::Code::kInvalidArgument,
                         "the first sequences ended before all {} were decoding: raise --generate or lower "
                         "--prompt",
                         all.size());
    }
    rate += static_cast<double>(tokens) / seconds(last->time - first->time);
  }
  return rate;
}

base::Result<Run> one_run(infer::Engine& engine, const std::vector<std::vector<std::int32_t>>& prompts,
                          int generate) {
  std::vector<std::future<Arrivals>> futures;
  const infer::Clock::time_point begin = infer::Clock::now();
  {
    Gate gate;
    for (const auto& prompt : prompts) {
      TW_ASSIGN_OR_RETURN(std::future<Arrivals> done, submit(engine, prompt, generate, gate.waiting()));
      futures.push_back(std::move(done));
    }
  }
  std::vector<Arrivals> all;
  infer::Clock::time_point first = begin;
  for (auto& future : futures) {
    all.push_back(future.get());
    if (all.back().finish != infer::FinishReason::kLength || all.back().pieces.empty()) {
      return base::error(base::Code::kInternal, "a request ended before its {} tokens", generate + 1);
    }
    first = std::max(first, all.back().pieces.front().time);
  }
  TW_ASSIGN_OR_RETURN(const double rate, decode_rate(all));
  return Run{seconds(first - begin), rate};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

base::Result<Speeds> measure_speeds(infer::Engine& engine, std::size_t vocabulary, const BenchLoad& load,
                                    const std::function<void(double done)>& progress) {
  std::uint64_t state = 42;
  std::vector<double> prefill, decode;
  for (int run = 0; run <= load.repeat; ++run) {  // the first is the warm-up
    std::vector<std::vector<std::int32_t>> prompts;
    prompts.reserve(load.batch);
    for (int i = 0; i < load.batch; ++i) prompts.push_back(random_prompt(load.prompt, vocabulary, state));
    TW_ASSIGN_OR_RETURN(const Run times, one_run(engine, prompts, load.generate));
    if (progress) progress(static_cast<double>(run + 1) / (load.repeat + 1));
    if (run == 0) continue;
    prefill.push_back(static_cast<double>(load.prompt) * load.batch / times.prefill_seconds);
    decode.push_back(times.decode_rate);
  }
  return Speeds{median(prefill), median(decode)};
}

}  // namespace tw::cli
