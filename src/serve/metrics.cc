#include "serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <chrono>
#include <mutex>
#include <sstream>

#include "serve/metric_collectors.h"

namespace tw::serve {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using Labels = prometheus::Labels;

// Boundaries as in vLLM's vllm/v1/metrics/loggers.py.
const Buckets kFirstTokenSeconds = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                    1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
const Buckets kNextTokenSeconds = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                                   .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
const Buckets kRequestSeconds = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const Buckets kStepTokens = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const Buckets kAnswers = {1, 2, 5, 10, 20};
// Of prometheus-fastapi-instrumentator, which vLLM uses.
const Buckets kFineSeconds = {.01, .025, .05, .075, .1,  .25, .5,  .75, 1,  1.5, 2,
                              2.5, 3,    3.5, 4,    4.5, 5,   7.5, 10,  30, 60};
const Buckets kHttpSeconds = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300};

/// 1, 2, 5, 10, 20, 50, ... up to the longest sequence.
Buckets token_buckets(std::int64_t longest) {
  Buckets buckets;
  for (double power = 1; power <= static_cast<double>(longest); power *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      if (power * step <= static_cast<double>(longest)) buckets.push_back(power * step);
    }
  }
  if (buckets.empty()) buckets.push_back(1);
  return buckets;
}

double seconds(infer::Clock::time_point from, infer::Clock::time_point to) {
  return std::max(0.0, std::chrono::duration<double>(to - from).count());
}

std::string_view status_class(int status) {
  static constexpr std::array<std::string_view, 5> kNames = {"1xx", "2xx", "3xx", "4xx", "5xx"};
  return status >= 100 && status < 600 ? kNames[static_cast<std::size_t>(status / 100 - 1)] : "5xx";
}

}  // namespace

/// The metrics of one model. Counters and histograms of prometheus-cpp are thread-safe.
struct ModelMetrics {
  ModelMetrics(prometheus::Registry& registry, const std::string& name, std::int64_t longest,
               std::function<infer::EngineStats()> engine_stats)
      : model_name(name), stats(std::move(engine_stats)), labels{{"model_name", name}, {"engine", "0"}} {
    const auto histogram = [&](const char* id, const char* help, const Buckets& buckets) {
      return &prometheus::BuildHistogram().Name(id).Help(help).Register(registry).Add(labels, buckets);
    };
    const Buckets tokens = token_buckets(longest);
    step_tokens = histogram("vllm:iteration_tokens_total", "Tokens of one step of the engine.", kStepTokens);
    first_token = histogram("vllm:time_to_first_token_seconds", "From the request to its first token.",
                            kFirstTokenSeconds);
    next_token =
        histogram("vllm:inter_token_latency_seconds", "From one token to the next.", kNextTokenSeconds);
    per_token = histogram("vllm:request_time_per_output_token_seconds",
                          "Mean time per token after the first.", kNextTokenSeconds);
    whole =
        histogram("vllm:e2e_request_latency_seconds", "From the request to its last token.", kRequestSeconds);
    queue = histogram("vllm:request_queue_time_seconds", "Time spent waiting.", kRequestSeconds);
    inference = histogram("vllm:request_inference_time_seconds", "Time spent running.", kRequestSeconds);
    prefill =
        histogram("vllm:request_prefill_time_seconds", "From the start to the first token.", kRequestSeconds);
    decode =
        histogram("vllm:request_decode_time_seconds", "From the first token to the last.", kRequestSeconds);
    prompt = histogram("vllm:request_prompt_tokens", "Tokens of the prompt.", tokens);
    generated = histogram("vllm:request_generation_tokens", "Tokens of the answer.", tokens);
    longest_answer = histogram("vllm:request_max_num_generation_tokens",
                               "Tokens of the longest answer of a request.", tokens);
    answers = histogram("vllm:request_params_n", "Answers asked for.", kAnswers);
    max_tokens = histogram("vllm:request_params_max_tokens", "Tokens asked for at most.", tokens);
    auto& success = prometheus::BuildCounter()
                        .Name("vllm:request_success_total")
                        .Help("Sequences that ended, by how.")
                        .Register(registry);
    for (const char* reason : {"stop", "length", "abort", "error"}) {
      auto with_reason = labels;
      with_reason.emplace("finished_reason", reason);
      finished.push_back(&success.Add(with_reason));
    }
    rejections = &prometheus::BuildCounter()
                      .Name("vllm:admission_rejections_total")
                      .Help("Requests answered 429.")
                      .Register(registry)
                      .Add(labels);
    departures = &prometheus::BuildCounter()
                      .Name("tokenworks:client_disconnects_total")
                      .Help("Clients that left before their answer was complete.")
                      .Register(registry)
                      .Add(labels);
  }

  void finish(const infer::Chunk& last) {
    const auto reason = static_cast<std::size_t>(last.finish.value_or(infer::FinishReason::kError));
    finished.at(std::min<std::size_t>(reason, finished.size() - 1))->Increment();
    const infer::Timings& t = last.timings;
    whole->Observe(seconds(t.arrived, t.finished));
    prompt->Observe(static_cast<double>(last.prompt_tokens));
    generated->Observe(static_cast<double>(last.generated_tokens));
    const infer::Clock::time_point never{};
    if (t.scheduled == never) return;
    queue->Observe(seconds(t.arrived, t.scheduled));
    inference->Observe(seconds(t.scheduled, t.finished));
    if (t.first_token == never) return;
    prefill->Observe(seconds(t.scheduled, t.first_token));
    decode->Observe(seconds(t.first_token, t.finished));
    if (last.generated_tokens > 1) {
      per_token->Observe(seconds(t.first_token, t.finished) / static_cast<double>(last.generated_tokens - 1));
    }
  }

  std::string model_name;
  std::function<infer::EngineStats()> stats;
  Labels labels;
  prometheus::Histogram *step_tokens, *first_token, *next_token, *per_token, *whole, *queue, *inference,
      *prefill, *decode, *prompt, *generated, *longest_answer, *answers, *max_tokens;
  std::vector<prometheus::Counter*> finished;  ///< in the order of infer::FinishReason
  prometheus::Counter *rejections, *departures;
};

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("http_requests_total")
                                                          .Help("Requests, by route, method and status.")
                                                          .Register(registry);
  prometheus::Family<prometheus::Counter>& request_bytes = prometheus::BuildCounter()
                                                               .Name("tokenworks:http_request_bytes_total")
                                                               .Help("Bytes of request bodies.")
                                                               .Register(registry);
  prometheus::Family<prometheus::Counter>& response_bytes = prometheus::BuildCounter()
                                                                .Name("tokenworks:http_response_bytes_total")
                                                                .Help("Bytes of answers.")
                                                                .Register(registry);
  prometheus::Family<prometheus::Histogram>& durations =
      prometheus::BuildHistogram()
          .Name("http_request_duration_seconds")
          .Help("From the header to the last byte of the answer.")
          .Register(registry);
  prometheus::Histogram& fine_durations = prometheus::BuildHistogram()
                                              .Name("http_request_duration_highr_seconds")
                                              .Help("The same for all routes, in finer steps.")
                                              .Register(registry)
                                              .Add({}, kFineSeconds);
  prometheus::Family<prometheus::Summary>& request_sizes = prometheus::BuildSummary()
                                                               .Name("http_request_size_bytes")
                                                               .Help("Bytes of the request's body.")
                                                               .Register(registry);
  prometheus::Family<prometheus::Summary>& response_sizes = prometheus::BuildSummary()
                                                                .Name("http_response_size_bytes")
                                                                .Help("Bytes of the answer, head included.")
                                                                .Register(registry);
  prometheus::Gauge& draining = prometheus::BuildGauge()
                                    .Name("tokenworks:draining")
                                    .Help("1 while the server finishes its last requests.")
                                    .Register(registry)
                                    .Add({});

  /// Set once; read without a lock afterwards.
  std::unique_ptr<ModelMetrics> owner;
  std::atomic<ModelMetrics*> model{nullptr};
};

Metrics::Metrics(const std::string& version) : impl_(std::make_unique<Impl>()) {
  prometheus::BuildGauge()
      .Name("tokenworks:build_info")
      .Help("Always 1.")
      .Register(impl_->registry)
      .Add({{"version", version}})
      .Set(1);
}

Metrics::~Metrics() = default;

void Metrics::attach(const std::string& model_name, std::int64_t max_length,
                     std::function<infer::EngineStats()> stats) {
  TW_CHECK(impl_->model.load() == nullptr, "metrics have one model");
  impl_->owner = std::make_unique<ModelMetrics>(impl_->registry, model_name, max_length, std::move(stats));
  impl_->model.store(impl_->owner.get(), std::memory_order_release);
}

void Metrics::request_accepted(int n, std::int64_t max_tokens) {
  ModelMetrics* model = impl_->model.load(std::memory_order_acquire);
  if (model == nullptr) return;
  model->answers->Observe(n);
  if (max_tokens > 0) model->max_tokens->Observe(static_cast<double>(max_tokens));
}

void Metrics::request_rejected() {
  if (ModelMetrics* model = impl_->model.load(std::memory_order_acquire)) model->rejections->Increment();
}

void Metrics::client_left() {
  if (ModelMetrics* model = impl_->model.load(std::memory_order_acquire)) model->departures->Increment();
}

void Metrics::step(std::int64_t tokens) {
  ModelMetrics* model = impl_->model.load(std::memory_order_acquire);
  if (model != nullptr) model->step_tokens->Observe(static_cast<double>(tokens));
}

void Metrics::first_token(double seconds) {
  if (ModelMetrics* model = impl_->model.load(std::memory_order_acquire))
    model->first_token->Observe(seconds);
}

void Metrics::next_token(double seconds) {
  if (ModelMetrics* model = impl_->model.load(std::memory_order_acquire)) model->next_token->Observe(seconds);
}

void Metrics::sequence_finished(const infer::Chunk& last) {
  if (ModelMetrics* model = impl_->model.load(std::memory_order_acquire)) model->finish(last);
}

void Metrics::request_finished(std::int64_t longest) {
  ModelMetrics* model = impl_->model.load(std::memory_order_acquire);
  if (model != nullptr) model->longest_answer->Observe(static_cast<double>(longest));
}

void Metrics::http_request(std::string_view handler, std::string_view method, int status,
                           std::size_t request_bytes, std::size_t response_bytes, double seconds) {
  const Labels route = {{"handler", std::string(handler)}, {"method", std::string(method)}};
  Labels with_status = route;
  with_status.emplace("status", status_class(status));
  impl_->requests.Add(with_status).Increment();
  impl_->request_bytes.Add(route).Increment(static_cast<double>(request_bytes));
  impl_->response_bytes.Add(route).Increment(static_cast<double>(response_bytes));
  impl_->durations.Add(route, kHttpSeconds).Observe(seconds);
  impl_->fine_durations.Observe(seconds);
  const Labels handler_only = {{"handler", std::string(handler)}};
  const prometheus::Summary::Quantiles none;
  impl_->request_sizes.Add(handler_only, none).Observe(static_cast<double>(request_bytes));
  impl_->response_sizes.Add(handler_only, none).Observe(static_cast<double>(response_bytes));
}

void Metrics::set_draining(bool draining) {
  impl_->draining.Set(draining ? 1 : 0);
}

std::string Metrics::text() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  const auto append = [&](std::vector<prometheus::MetricFamily> more) {
    families.insert(families.end(), std::make_move_iterator(more.begin()),
                    std::make_move_iterator(more.end()));
  };
  if (const ModelMetrics* model = impl_->model.load(std::memory_order_acquire)) {
    append(engine_families(model->stats(), model->model_name));
  }
  append(process_families());
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace tw::serve
