// Random workloads on small pools: every plan is checked by FakeEngine, every answer against the request run
// alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "sched/fake_engine.h"

namespace tw::sched {
namespace {

using testing::FakeEngine;
using testing::kVocabulary;

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(int percent) { return between(1, 100) <= percent; }

 private:
  std::mt19937_64 engine_;
};

SchedulerOptions random_options(Random& random) {
  SchedulerOptions options;
  options.block_tokens = static_cast<int>(random.between(1, 6));
  options.blocks = random.between(3, 40);
  options.max_running = static_cast<int>(random.between(1, 8));
  options.max_step_tokens =
      static_cast<int>(random.chance(30) ? random.between(1, 8) : random.between(8, 120));
  options.max_waiting = static_cast<int>(random.between(1, 12));
  options.prefix_cache = random.chance(80);
  options.cache_generated = random.chance(30);
  if (random.chance(50)) options.layers = random.between(2, 5);
  return options;
}

/// Prompts that often begin like an earlier one, answer included.
Request random_request(RequestId id, const SchedulerOptions& options,
                       const std::vector<std::vector<TokenId>>& earlier, Random& random) {
  const std::int64_t room = options.blocks * options.block_tokens;
  Request request;
  request.id = id;
  const std::int64_t length = random.between(1, std::max<std::int64_t>(1, room * 3 / 4));
  if (!earlier.empty() && random.chance(70)) {
    request.prompt = earlier[static_cast<std::size_t>(random.between(0, std::ssize(earlier) - 1))];
    request.prompt.resize(
        static_cast<std::size_t>(std::min<std::int64_t>(length, std::ssize(request.prompt))));
  }
  const std::int64_t more = random.chance(50) ? random.between(0, 4) : length - std::ssize(request.prompt);
  for (std::int64_t i = 0; i < more || request.prompt.empty(); ++i) {
    request.prompt.push_back(static_cast<TokenId>(random.between(0, kVocabulary - 1)));
  }
  request.max_new_tokens = random.chance(10) ? 0 : random.between(1, std::max<std::int64_t>(1, room / 2));
  if (random.chance(15))
    request.rows_from = random.chance(50) ? 0 : random.between(0, std::ssize(request.prompt) - 1);
  request.cache_salt = random.chance(20) ? 1 : 0;
  return request;
}

struct Outcome {
  std::string log;
  std::int64_t preemptions = 0, hit_tokens = 0, finished = 0, steps = 0, refused = 0, guesses_right = 0;
  std::int64_t partial_steps = 0, left = 0;
};

/// What one run needs to know of its requests.
struct Workload {
  std::vector<std::vector<TokenId>> sequences;  ///< of finished requests, answers included
  std::map<RequestId, Request> open;
  std::map<RequestId, std::int64_t> oldest_since;  ///< step at which a request became the oldest of all
};

void check_finished(FakeEngine& engine, Workload& work, Outcome& outcome) {
  for (auto& [id, answer] : engine.answers) {
    const Request& request = work.open.at(id);
    EXPECT_EQ(answer, engine.expected_answer(request)) << "request " << id;
    work.sequences.push_back(request.prompt);
    work.sequences.back().insert(work.sequences.back().end(), answer.begin(), answer.end());
    work.open.erase(id);
    ++outcome.finished;
  }
  engine.answers.clear();
}

/// No request waits for ever: once it is the oldest, it is through when all that ran before could have ended.
void check_wait(const FakeEngine& engine, Workload& work) {
  if (engine.jobs.empty()) return;
  const auto [place, is_new] = work.oldest_since.try_emplace(engine.jobs.begin()->first, engine.steps);
  const std::int64_t room = engine.options.blocks * engine.options.block_tokens;
  EXPECT_LE(engine.steps - place->second, (4 * room + 10) * engine.options.layers)
      << "request " << place->first << " starves";
}

void cancel_one(FakeEngine& engine, Workload& work, Random& random) {
  if (engine.jobs.empty()) return;
  auto victim = std::next(engine.jobs.begin(), random.between(0, std::ssize(engine.jobs) - 1));
  const RequestId id = victim->first;
  engine.cancel(id);
  work.open.erase(id);
}

Outcome simulate(std::uint64_t seed) {
  Random random(seed);
  FakeEngine engine(random_options(random));
  if (random.chance(30)) engine.share.tokens = random.between(1, 40);
  if (random.chance(70)) engine.share.layer_tokens = random.between(0, 400);
  if (random.chance(40)) engine.guess_percent = static_cast<unsigned>(random.between(1, 100));
  Workload work;
  Outcome outcome;
  const int cancels = random.chance(50) ? static_cast<int>(random.between(1, 20)) : 0;
  const double late = random.chance(20) ? 0.2 : 0;
  const std::int64_t requests = random.between(1, 25);
  for (RequestId id = 1; !engine.scheduler.idle() || static_cast<std::int64_t>(id) <= requests;) {
    while (static_cast<std::int64_t>(id) <= requests && random.chance(40)) {
      const Request request = random_request(id, engine.options, work.sequences, random);
      if (engine.add(request).ok()) {
        work.open[id] = request;
      } else {
        ++outcome.refused;
      }
      ++id;
    }
    if (random.chance(cancels)) cancel_one(engine, work, random);
    const bool between = random.chance(cancels);
    engine.step([&] { between ? cancel_one(engine, work, random) : void(); }, late);
    check_finished(engine, work, outcome);
    check_wait(engine, work);
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_TRUE(work.open.empty());
  EXPECT_EQ(engine.scheduler.stats().blocks_used, 0);
  EXPECT_EQ(engine.scheduler.stats().waiting + engine.scheduler.stats().running, 0);
  outcome.log = engine.log;
  outcome.preemptions = engine.preemptions;
  outcome.hit_tokens = engine.hit_tokens;
  outcome.guesses_right = engine.guesses_right;
  outcome.partial_steps = engine.partial_steps;
  outcome.left = engine.left;
  outcome.steps = engine.steps;
  return outcome;
}

/// Also proves that the workloads reach what they are meant to test.
void simulate_range(std::uint64_t first, std::uint64_t count) {
  Outcome sum;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome one = simulate(seed);
    ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << "\n" << one.log;
    sum.preemptions += one.preemptions;
    sum.hit_tokens += one.hit_tokens;
    sum.finished += one.finished;
    sum.steps += one.steps;
    sum.refused += one.refused;
    sum.guesses_right += one.guesses_right;
    sum.partial_steps += one.partial_steps;
    sum.left += one.left;
  }
  const auto runs = static_cast<std::int64_t>(count);
  ::testing::Test::RecordProperty("steps", static_cast<int>(sum.steps));
  EXPECT_GT(sum.finished, 5 * runs);
  EXPECT_GT(sum.preemptions, runs / 2);
  EXPECT_GT(sum.hit_tokens, 5 * runs);
  EXPECT_GT(sum.refused, runs / 2);
  EXPECT_GT(sum.guesses_right, 5 * runs);
  EXPECT_GT(sum.partial_steps, runs);
  EXPECT_GT(sum.left, runs / 50);
}

TEST(Simulation, RandomWorkloadsKeepEveryPromise) {
  simulate_range(1, 1500);
}

TEST(SlowSimulation, ManyRandomWorkloadsKeepEveryPromise) {
  simulate_range(100000, 20000);
}

TEST(Simulation, TheSameCallsGiveTheSamePlans) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) EXPECT_EQ(simulate(seed).log, simulate(seed).log);
}

/// With room for everything, a request must hit exactly the longest run of full blocks that an earlier prompt
/// shares.
TEST(Simulation, PrefixHitsEqualBruteForce) {
  Random random(11);
  for (int round = 0; round < 60; ++round) {
    SchedulerOptions options;
    options.blocks = 4000;
    options.block_tokens = static_cast<int>(random.between(1, 6));
    FakeEngine engine(options);
    std::vector<Request> earlier;
    std::vector<std::vector<TokenId>> prompts;
    SchedulerOptions shape = options;
    shape.blocks = 12;
    for (RequestId id = 1; id <= 30; ++id) {
      Request request = random_request(id, shape, prompts, random);
      std::int64_t want = 0;
      for (const Request& other : earlier) {
        if (other.cache_salt != request.cache_salt || request.rows_from == 0) continue;
        const auto end = std::ranges::mismatch(request.prompt, other.prompt).in1;
        const std::int64_t equal =
            std::min({end - request.prompt.begin(), std::ssize(request.prompt) - 1, request.rows_from});
        want = std::max(want, equal / options.block_tokens * options.block_tokens);
      }
      ASSERT_TRUE(engine.add(request).ok());
      engine.run();
      EXPECT_EQ(engine.cached[id], want) << "request " << id;
      prompts.push_back(request.prompt);
      earlier.push_back(std::move(request));
    }
  }
}

}  // namespace
}  // namespace tw::sched
