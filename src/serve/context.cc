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

base::Status Context::set_model(ModelPtr model, const std::vector<ModelPtr>& adapters) {
  std::lock_guard lock(mutex_);
  model_ = std::move(model);
  for (const ModelPtr& adapter : adapters) {
    base::Status added = add_locked(adapter, false);
    if (added.ok()) continue;
    model_ = nullptr;
    adapters_.clear();
    return added;
  }
  return base::Ok{};
}

base::Result<ModelPtr> Context::find(std::string_view requested) const {
  std::lock_guard lock(mutex_);
  if (requested.empty() || requested == model_->name || requested == model_->card->name) return model_;
  if (const auto it = adapters_.find(requested); it != adapters_.end()) return it->second;
  return base::Error{base::Code::kNotFound,
                     fmt::format("the model \"{}\" is not served here: use \"{}\"{}", requested, model_->name,
                                 adapters_.empty() ? "" : " or an adapter that /v1/models lists"),
                     "model"};
}

std::vector<ModelPtr> Context::models() const {
  std::lock_guard lock(mutex_);
  std::vector<ModelPtr> all = {model_};
  for (const auto& [name, adapter] : adapters_) all.push_back(adapter);
  return all;
}

base::Status Context::add_adapter(ModelPtr adapter, bool replace) {
  std::lock_guard lock(mutex_);
  return add_locked(std::move(adapter), replace);
}

base::Status Context::add_locked(ModelPtr adapter, bool replace) {
  const std::string name = adapter->name;
  if (name == model_->name || name == model_->card->name) {
    return field_error("lora_name", fmt::format("\"{}\" is the base model's name: choose another", name));
  }
  const bool known = adapters_.contains(name);
  if (known && !replace) {
    return field_error("lora_name", fmt::format("the adapter \"{}\" is loaded already: unload it first, or "
                                                "send load_inplace to replace it",
                                                name));
  }
  if (!known && adapters_.size() >= kMostAdapters) {
    return base::error(base::Code::kResourceExhausted, "{} adapters are loaded: unload one first",
                       adapters_.size());
  }
  adapters_[name] = std::move(adapter);
  return base::Ok{};
}

bool Context::remove_adapter(const std::string& name) {
  std::lock_guard lock(mutex_);
  return adapters_.erase(name) > 0;
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

http::Response json_response(std::string body, const std::vector<std::string>& ignored) {
  http::Response response{200, "application/json", std::move(body), {}};
  if (!ignored.empty()) response.headers.push_back({"X-Tokenworks-Ignored", ignored_header(ignored)});
  return response;
}

}  // namespace tw::serve
