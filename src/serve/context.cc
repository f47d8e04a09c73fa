#include "serve/context.h"

#include <random>

#include "base/mix64.h"
#include "serve/fields.h"

namespace tw::serve {
namespace {

std::uint64_t random_start() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) ^ device();
}

}  // namespace

Context::Context(ApiOptions options)
    : options_(std::move(options)), metrics_(options_.version), random_(random_start()) {}

ModelPtr Context::model() const {
  std::lock_guard lock(mutex_);
  return model_;
}

void Context::set_model(ModelPtr model) {
  std::lock_guard lock(mutex_);
  model_ = std::move(model);
}

void Context::begin_drain() {
  draining_.store(true);
  metrics_.set_draining(true);
}

std::uint64_t Context::next_random() {
  return base::mix64(random_.fetch_add(base::kMixStep));
}

std::string Context::next_id(std::string_view prefix) {
  return fmt::format("{}{:016x}{:016x}", prefix, next_random(), next_random());
}

ModelPtr Context::ready_model(const ExchangePtr& exchange, bool generates) const {
  if (generates && draining()) {
    fail(exchange,
         base::error(base::Code::kUnavailable, "the server is shutting down: it takes no new requests"));
    return nullptr;
  }
  ModelPtr found = model();
  if (found == nullptr)
    fail(exchange, base::error(base::Code::kUnavailable, "the model is being loaded: try again soon"));
  return found;
}

void fail(const ExchangePtr& exchange, const base::Error& error) {
  exchange->respond(error_response(to_api_error(error)));
}

base::Status check_model_name(const ServedModel& model, std::string_view requested) {
  if (requested.empty() || requested == model.name || requested == model.card->name) return base::Ok{};
  return base::Error{base::Code::kNotFound,
                     fmt::format("the model \"{}\" is not served here: use \"{}\"", requested, model.name),
                     "model"};
}

http::Response json_response(std::string body, const std::vector<std::string>& ignored) {
  http::Response response{200, "application/json", std::move(body), {}};
  if (!ignored.empty()) response.headers.push_back({"X-Tokenworks-Ignored", ignored_header(ignored)});
  return response;
}

}  // namespace tw::serve
