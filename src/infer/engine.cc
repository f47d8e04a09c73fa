#include "infer/engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/cpu.h"
#include "base/log.h"
#include "base/mix64.h"
#include "infer/drafter.h"
#include "infer/step_runner.h"
#include "model/adapter.h"
#include "sched/scheduler.h"
#include "sched/step_budget.h"
#include "spec/serve_config.h"

namespace tw::infer {
namespace {

using base::Code;

std::shared_ptr<const text::TokenTrie> make_trie(const text::Tokenizer& tokenizer) {
  std::vector<std::string> pieces;
  std::vector<bool> excluded;
  for (std::size_t id = 0; id < tokenizer.size(); ++id) {
    const auto token = static_cast<std::int32_t>(id);
    pieces.push_back(tokenizer.piece(token));
    excluded.push_back(tokenizer.is_control(token) || tokenizer.is_end_of_generation(token));
  }
  return std::make_shared<const text::TokenTrie>(pieces, excluded);
}

/// How long a sequence may be, and how many blocks the pool has.
struct Capacity {
  std::int64_t context = 0, blocks = 0;
};

base::Result<Capacity> plan_capacity(const spec::ModelConfig& config, const EngineOptions& options) {
  if (config.learned_positions && options.context > config.context) {
    return base::error(
        Code::kInvalidArgument,
        "this model has learned {} positions and knows none after them: lower --ctx, or what bench "
        "is to run by -p and -n, from {}",
        config.context, options.context);
  }
  std::size_t block = PagedKv::block_bytes(config, options.kv_type);
  if (options.draft != nullptr) block += PagedKv::block_bytes(options.draft->config(), options.kv_type);
  std::int64_t bytes = options.kv_bytes;
  if (bytes == 0) bytes = static_cast<std::int64_t>(base::detect_machine().memory_available / 4);
  const std::int64_t fits = bytes / static_cast<std::int64_t>(block);
  Capacity capacity;
  capacity.context = options.context > 0 ? options.context : std::min(config.context, fits * kBlockTokens);
  const std::int64_t one_sequence = (capacity.context + kBlockTokens - 1) / kBlockTokens;
  if (fits < 1 || fits < one_sequence) {
    return base::error(
        Code::kResourceExhausted,
        "keys and values of one sequence of {} tokens need {:.2f} GiB, but only {:.2f} GiB are set aside: "
        "lower --ctx or raise --kv-memory",
        std::max<std::int64_t>(capacity.context, 1),
        static_cast<double>(std::max<std::int64_t>(one_sequence, 1) * static_cast<std::int64_t>(block)) /
            (1 << 30),
        static_cast<double>(bytes) / (1 << 30));
  }
  capacity.blocks = std::min(fits, one_sequence * options.max_running);
  return capacity;
}

class EngineImpl : public Engine {
 public:
  EngineImpl(std::shared_ptr<const model::LoadedModel> model, const EngineOptions& options, Capacity capacity,
             PagedKv kv, std::unique_ptr<base::Team> team, std::unique_ptr<StepRunner> runner,
             std::unique_ptr<Drafter> drafter, std::function<void(std::int64_t)> on_step)
      : model_(std::move(model)),
        options_(options),
        capacity_(capacity),
        kv_(std::move(kv)),
        team_(std::move(team)),
        runner_(std::move(runner)),
        drafter_(std::move(drafter)),
        on_step_(std::move(on_step)),
        trie_(make_trie(*model_->card().tokenizer)),
        scheduler_(scheduler_options()),
        budget_(options.decode_stretch, longest_chunk(), model_->config().layers) {
    stats_.cache = {kBlockTokens,          capacity_.blocks, static_cast<std::int64_t>(kv_.bytes()),
                    kv_.bytes_per_token(), options_.kv_type, options_.prefix_cache};
    thread_ = std::thread([this] { loop(); });
  }
  ~EngineImpl() override { stop(); }

  base::Result<Ticket> submit(GenerateRequest request, Sink sink) override;
  void cancel(Ticket ticket) override;
  base::Result<std::shared_ptr<const model::Adapter>> load_adapter(const std::string& folder) const override {
    return model::Adapter::load(folder, *model_);
  }
  EngineStats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  std::int64_t context() const override { return capacity_.context; }
  std::string description() const override;
  void stop() override;

 private:
  sched::SchedulerOptions scheduler_options() const {
    return {.blocks = capacity_.blocks,
            .block_tokens = kBlockTokens,
            .max_running = options_.max_running,
            .max_step_tokens = options_.max_step_tokens,
            .max_waiting = options_.max_waiting + options_.max_running,
            .layers = model_->config().layers,
            .max_sequence = capacity_.context,
            .prefix_cache = options_.prefix_cache,
            .cache_generated = options_.cache_generated};
  }
  /// Beside answers: a draft model reads a chunk in one step.
  std::int64_t longest_chunk() const {
    const bool limited = drafter_ != nullptr && options_.decode_stretch > 1;
    return limited ? std::min(options_.max_step_tokens, 64) : options_.max_step_tokens;
  }
  base::Status check(GenerateRequest& request) const;
  base::Status has_room() const;  // with mutex_ held
  void loop();
  bool take_commands();
  void admit(std::unique_ptr<ActiveRequest> request);
  void drop(Ticket ticket, FinishReason reason, const std::string& error = {});
  void run_step(const sched::Step& step);
  double run_phase(const sched::Step& step, sched::Phase phase);
  void propose_guesses();
  void learn_guesses(const ActiveRequest& request);
  void release(Ticket ticket);
  void add_slice(const sched::Slice& slice);
  void finish_slice(const sched::Slice& slice);
  void update_stats();

  std::shared_ptr<const model::LoadedModel> model_;
  const EngineOptions options_;
  const Capacity capacity_;
  PagedKv kv_;
  std::unique_ptr<base::Team> team_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<Drafter> drafter_;  // null: no draft model
  std::function<void(std::int64_t)> on_step_;
  std::shared_ptr<const text::TokenTrie> trie_;

  // Used by the engine's thread alone.
  sched::Scheduler scheduler_;
  sched::StepBudget budget_;
  std::unordered_map<Ticket, std::unique_ptr<ActiveRequest>> active_;
  model::Batch batch_;
  std::vector<OutputRow> outputs_, hidden_outputs_;
  std::vector<Drafter::Work> draft_work_;
  std::uint64_t stats_steps_ = 0, stats_prompt_tokens_ = 0, stats_generated_tokens_ = 0;
  std::uint64_t stats_guesses_ = 0, stats_guessed_ = 0, stats_accepted_ = 0;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::vector<std::unique_ptr<ActiveRequest>> submitted_;
  std::vector<Ticket> cancelled_;
  EngineStats stats_;
  Ticket next_ticket_ = 1;
  bool stopping_ = false;

  std::thread thread_;
};

base::Status EngineImpl::check(GenerateRequest& request) const {
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  if (length == 0) return base::error(Code::kInvalidArgument, "the prompt is empty");
  const bool generates = request.max_tokens > 0 && !request.embed;
  if (length + (generates ? 1 : 0) > capacity_.context) {
    return base::error(Code::kInvalidArgument,
                       "the prompt has {} tokens, but this server's context holds {} with the answer", length,
                       capacity_.context);
  }
  const auto vocabulary = static_cast<std::int64_t>(model_->card().tokenizer->size());
  for (const std::int32_t token : request.prompt) {
    if (token < 0 || token >= vocabulary) {
      return base::error(Code::kInvalidArgument, "token {} is outside the vocabulary of {}", token,
                         vocabulary);
    }
  }
  request.prompt_logprobs_from = std::clamp<std::int64_t>(request.prompt_logprobs_from, 1, length);
  request.max_tokens = generates ? std::min(request.max_tokens, capacity_.context - length) : 0;
  return base::Ok{};
}

base::Status EngineImpl::has_room() const {
  if (stopping_) return base::error(Code::kUnavailable, "the server is stopping");
  const auto queued = stats_.waiting + stats_.running;
  if (queued < options_.max_waiting + options_.max_running) return base::Ok{};
  return base::error(Code::kResourceExhausted,
                     "the queue is full: {} requests are waiting or running; try again later", queued);
}

base::Result<Ticket> EngineImpl::submit(GenerateRequest request, Sink sink) {
  const auto arrived = Clock::now();
  TW_RETURN_IF_ERROR(check(request));
  if (request.grammar != nullptr) {
    TW_ASSIGN_OR_RETURN(request.grammar, text::writable_part(request.grammar, trie_));
  }
  Ticket ticket = 0;
  {
    std::lock_guard lock(mutex_);
    TW_RETURN_IF_ERROR(has_room());
    ticket = next_ticket_++;
  }
  // Reading a long prompt takes milliseconds: not under the lock that the engine needs at each step.
  auto active = std::make_unique<ActiveRequest>(ticket, std::move(request), std::move(sink),
                                                *model_->card().tokenizer, trie_, options_.speculate);
  active->timings().arrived = arrived;
  std::lock_guard lock(mutex_);
  TW_RETURN_IF_ERROR(has_room());
  submitted_.push_back(std::move(active));
  ++stats_.waiting;
  wake_.notify_one();
  return ticket;
}

void EngineImpl::cancel(Ticket ticket) {
  std::lock_guard lock(mutex_);
  cancelled_.push_back(ticket);
  wake_.notify_one();
}

void EngineImpl::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

std::string EngineImpl::description() const {
  return fmt::format(
      "{} kernels, {} thread{} on processor{} {}, context {}, {:.0f} MiB for keys and values ({}, {} bytes a "
      "token), {:.0f} MiB for activations",
      model_->table().name, team_->size(), team_->size() == 1 ? "" : "s",
      team_->placement()[0].size() == 1 ? "" : "s", base::placement_text(team_->placement()),
      capacity_.context, static_cast<double>(kv_.bytes()) / (1 << 20), spec::kv_type_name(options_.kv_type),
      kv_.bytes_per_token(), static_cast<double>(runner_->activation_bytes()) / (1 << 20));
}

void EngineImpl::loop() {
  const base::ThreadPin pin(team_->placement()[0]);
  while (take_commands()) {
    propose_guesses();
    const std::int64_t answers = std::count_if(active_.begin(), active_.end(),
                                               [](const auto& entry) { return entry.second->answering(); });
    const std::int64_t unanswered = std::ssize(active_) - answers;
    const sched::Step step = scheduler_.next(budget_.share(answers, unanswered));
    update_stats();  // a long prompt counts as running from its first step on, not from the end of it
    if (!step.slices.empty()) run_step(step);
    update_stats();
  }
  for (auto& [ticket, request] : active_)
    request->finish(FinishReason::kAborted, scheduler_.cached_tokens(ticket));
}

/// Waits until there is work, moves submissions to the scheduler and carries out cancellations. False: stop.
bool EngineImpl::take_commands() {
  std::vector<std::unique_ptr<ActiveRequest>> submitted;
  std::vector<Ticket> cancelled;
  bool stopping = false;
  {
    std::unique_lock lock(mutex_);
    wake_.wait(lock,
               [&] { return stopping_ || !submitted_.empty() || !cancelled_.empty() || !active_.empty(); });
    submitted.swap(submitted_);
    cancelled.swap(cancelled_);
    stopping = stopping_;
  }
  for (auto& request : submitted) admit(std::move(request));
  for (const Ticket ticket : cancelled) drop(ticket, FinishReason::kAborted);
  return !stopping;
}

/// Keys and values made with an adapter serve no request without it.
std::uint64_t salt_of(const GenerateRequest& r) {
  return r.adapter == nullptr ? r.cache_salt : base::mix64(r.cache_salt + r.adapter->content_hash());
}

void EngineImpl::admit(std::unique_ptr<ActiveRequest> request) {
  const GenerateRequest& r = request->request();
  const Ticket ticket = request->ticket();
  const std::int64_t rows_from = r.embed             ? 0
                                 : r.prompt_logprobs ? r.prompt_logprobs_from - 1
                                                     : sched::kNoRows;
  auto status = scheduler_.add({ticket, r.prompt, r.max_tokens, rows_from, salt_of(r)});
  ActiveRequest& added = *active_.emplace(ticket, std::move(request)).first->second;
  if (status.ok()) return;
  added.finish(FinishReason::kError, 0, status.error().text());
  active_.erase(ticket);
}

void EngineImpl::drop(Ticket ticket, FinishReason reason, const std::string& error) {
  const auto it = active_.find(ticket);
  if (it == active_.end()) return;
  const std::int64_t cached = scheduler_.cached_tokens(ticket);
  scheduler_.cancel(ticket);
  it->second->finish(reason, cached, error);
  release(ticket);
}

void EngineImpl::release(Ticket ticket) {
  active_.erase(ticket);
  if (drafter_ != nullptr) drafter_->forget(ticket);
}

/// A step reads the weights once for all its rows, so that guesses cost little while there are few; many
/// sequences fill a step without them.
void EngineImpl::propose_guesses() {
  constexpr std::int64_t kRows = 16;
  if ((!options_.speculate && drafter_ == nullptr) || active_.empty()) return;
  const std::int64_t limit = kRows / std::ssize(active_) - 1;
  if (limit < 1) return;
  draft_work_.clear();
  for (const auto& [ticket, request] : active_) {
    const auto guess = request->look_up(limit);
    if (!guess.empty()) {
      scheduler_.propose(ticket, guess);
    } else if (drafter_ != nullptr && request->guessable()) {
      if (const auto due = scheduler_.decoding(ticket))
        draft_work_.push_back({ticket, due->tokens, due->blocks, limit});
    }
  }
  if (draft_work_.empty()) return;
  const auto& drafts = drafter_->guess(draft_work_);
  for (std::size_t i = 0; i < drafts.size(); ++i) scheduler_.propose(draft_work_[i].id, drafts[i]);
}

void EngineImpl::learn_guesses(const ActiveRequest& request) {
  const std::int64_t guessed = request.guessed(), right = request.guessed_right();
  stats_guesses_ += guessed > 0 ? 1 : 0;
  stats_guessed_ += static_cast<std::uint64_t>(guessed);
  stats_accepted_ += static_cast<std::uint64_t>(right);
  stats_generated_tokens_ += 1 + static_cast<std::uint64_t>(right);
  if (drafter_ != nullptr && !request.looked_up()) drafter_->learn(request.ticket(), guessed, right);
}

void EngineImpl::run_step(const sched::Step& step) {
  if (drafter_ != nullptr) drafter_->follow(step);
  const double answered = run_phase(step, sched::Phase::kGenerated);
  const std::int64_t generated = batch_.rows();
  // What a preempted answer computes again says nothing of the steps of others.
  std::int64_t answers = 0, tokens = 0;
  for (const sched::Slice& slice : step.slices) {
    if (slice.phase != sched::Phase::kGenerated) continue;
    ++answers;
    tokens += std::ssize(slice.tokens) - slice.guesses;
  }
  if (tokens == answers) {
    budget_.answered(generated, answered);
    if (drafter_ != nullptr && generated > 0) drafter_->stepped(generated - answers, answered);
  }
  const double read = run_phase(step, sched::Phase::kPrompt);
  // Nor does a step say what layers take if logits of all its rows were wanted.
  if (std::ssize(outputs_) <= std::ssize(step.slices) - answers)
    budget_.read(batch_.rows(), step.prompt_layers.end - step.prompt_layers.begin, read);
  const std::int64_t prompts = step.through ? batch_.rows() : 0;
  stats_prompt_tokens_ += static_cast<std::uint64_t>(prompts);
  ++stats_steps_;
  scheduler_.computed(step);
  // Slices hold spans into the scheduler that the calls below end: only ids and flags are used from here on.
  for (const sched::Slice& slice : step.slices) finish_slice(slice);
  if (on_step_) on_step_(generated + prompts);
}

/// Runs the step's rows of a phase, whose kernels differ from the other's, and returns the seconds.
double EngineImpl::run_phase(const sched::Step& step, sched::Phase phase) {
  batch_.clear();
  outputs_.clear();
  hidden_outputs_.clear();
  StepRunner::Part part;
  // Rows with adapters are together, and those without.
  for (const bool adapted : {false, true}) {
    for (const sched::Slice& slice : step.slices) {
      const bool has = active_.at(slice.id)->request().adapter != nullptr;
      if (slice.phase != phase || has != adapted) continue;
      add_slice(slice);
      part.owners.push_back({slice.id, std::ssize(slice.tokens)});
    }
  }
  if (batch_.rows() == 0) return 0;
  outputs_.insert(outputs_.end(), hidden_outputs_.begin(), hidden_outputs_.end());
  part.workers = options_.step_threads ? options_.step_threads(stats_steps_) : 0;
  if (phase == sched::Phase::kPrompt) part.layers = {step.prompt_layers.begin, step.prompt_layers.end, {}};
  const Clock::time_point begin = Clock::now();
  runner_->run(batch_, outputs_, kv_.view(), part);
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void EngineImpl::add_slice(const sched::Slice& slice) {
  ActiveRequest& request = *active_.at(slice.id);
  if (request.timings().scheduled == Clock::time_point{}) request.timings().scheduled = Clock::now();
  request.begin_step(slice.tokens.last(static_cast<std::size_t>(slice.guesses)));
  const std::int64_t row = batch_.rows();
  const model::Adapter* adapter = request.request().adapter.get();
  batch_.add(slice.tokens, slice.first, slice.blocks.data(), slice.phase == sched::Phase::kGenerated,
             adapter == nullptr ? nullptr : adapter->linears());
  const auto count = static_cast<std::int64_t>(slice.tokens.size());
  const auto prompt = static_cast<std::int64_t>(request.request().prompt.size());
  if (slice.rows_wanted) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t next = slice.first + i + 1;
      if (request.request().embed)
        hidden_outputs_.push_back({&request, OutputRow::Kind::kHidden, row + i, 1, 0});
      else if (next < prompt && next >= request.request().prompt_logprobs_from)
        outputs_.push_back({&request, OutputRow::Kind::kScore, row + i, 1, next});
    }
  }
  if (slice.wants_output && request.request().max_tokens > 0) {
    outputs_.push_back(
        {&request, OutputRow::Kind::kSample, row + count - 1 - slice.guesses, 1 + slice.guesses, 0});
  }
}

void EngineImpl::finish_slice(const sched::Slice& slice) {
  if (!slice.wants_output) return;
  const auto it = active_.find(slice.id);
  if (it == active_.end()) return;
  ActiveRequest& request = *it->second;
  const std::int64_t cached = scheduler_.cached_tokens(slice.id);
  if (request.request().max_tokens == 0) {
    request.finish(FinishReason::kLength, cached);
  } else {
    const std::vector<std::int32_t> tokens = request.take_sampled(cached);
    learn_guesses(request);
    for (const std::int32_t token : tokens) scheduler_.append(slice.id, token);
    if (!tokens.empty()) return;
  }
  scheduler_.finish(slice.id);
  release(slice.id);
}

void EngineImpl::update_stats() {
  const sched::SchedulerStats s = scheduler_.stats();
  std::set<std::string> running, waiting;
  for (const auto& [ticket, request] : active_) {
    if (request->request().adapter == nullptr) continue;
    (scheduler_.running(ticket) ? running : waiting).insert(request->request().adapter_name);
  }
  std::lock_guard lock(mutex_);
  for (const auto& request : submitted_) {
    if (request->request().adapter != nullptr) waiting.insert(request->request().adapter_name);
  }
  stats_.running_adapters = std::move(running);
  stats_.waiting_adapters = std::move(waiting);
  stats_.most_running = options_.max_running;
  stats_.running = s.running;
  stats_.waiting = s.waiting + static_cast<std::int64_t>(submitted_.size());
  stats_.kv_usage =
      s.blocks_total == 0 ? 0 : static_cast<double>(s.blocks_used) / static_cast<double>(s.blocks_total);
  stats_.prefix_queries = s.prefix_queries;
  stats_.prefix_hits = s.prefix_hits;
  stats_.preemptions = s.preemptions;
  stats_.prompt_tokens = stats_prompt_tokens_;
  stats_.generated_tokens = stats_generated_tokens_;
  stats_.guesses = stats_guesses_;
  stats_.guessed_tokens = stats_guessed_;
  stats_.accepted_tokens = stats_accepted_;
  stats_.steps = stats_steps_;
}

}  // namespace

base::Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const model::LoadedModel> model,
                                                     const EngineOptions& options,
                                                     std::function<void(std::int64_t)> on_step) {
  if (options.draft != nullptr) TW_RETURN_IF_ERROR(Drafter::check(*options.draft, *model));
  TW_ASSIGN_OR_RETURN(const Capacity capacity, plan_capacity(model->config(), options));
  TW_ASSIGN_OR_RETURN(PagedKv kv,
                      PagedKv::create(model->config(), capacity.blocks, capacity.context, options.kv_type));
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(options.threads, options.cpus));
  auto team = std::make_unique<base::Team>(std::move(placement));
  TW_ASSIGN_OR_RETURN(std::unique_ptr<StepRunner> runner,
                      StepRunner::create(*model, kv, *team, options.max_step_tokens));
  std::unique_ptr<Drafter> drafter;
  if (options.draft != nullptr) {
    const Drafter::Options draft{capacity.blocks,         capacity.context, options.max_running,
                                 options.max_step_tokens, options.kv_type,  options.draft_tokens};
    TW_ASSIGN_OR_RETURN(drafter, Drafter::create(options.draft, draft, *team));
  }
  return std::unique_ptr<Engine>(
      std::make_unique<EngineImpl>(std::move(model), options, capacity, std::move(kv), std::move(team),
                                   std::move(runner), std::move(drafter), std::move(on_step)));
}

}  // namespace tw::infer
