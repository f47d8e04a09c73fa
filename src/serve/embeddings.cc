// POST /v1/embeddings: each input's mean hidden state, scaled to length 1.
#include <bit>
#include <cmath>

#include "serve/answer.h"
#include "serve/generation.h"
#include "serve/handlers.h"
#include "serve/prompts.h"

namespace tw::serve {
namespace {

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t k) -> std::uint32_t {
      return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0;
    };
    const std::uint32_t group = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

std::string base64_floats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xFF);
  }
  return base64(bytes);
}

/// The first `dimensions` values (0: all), scaled to length 1.
std::vector<float> shape(std::vector<float> values, std::int64_t dimensions) {
  if (dimensions > 0 && static_cast<std::size_t>(dimensions) < values.size())
    values.resize(static_cast<std::size_t>(dimensions));
  double square = 0;
  for (const float v : values) square += static_cast<double>(v) * v;
  if (square > 0) {
    for (float& v : values) v = static_cast<float>(v / std::sqrt(square));
  }
  return values;
}

/// Each vector becomes text when it comes, so that the last one does not hold up the engine.
class EmbeddingWriter : public AnswerWriter {
 public:
  EmbeddingWriter(ModelPtr model, ExchangePtr exchange, const EmbeddingRequest& request)
      : model_(std::move(model)),
        exchange_(std::move(exchange)),
        base64_(request.base64),
        dimensions_(request.dimensions),
        ignored_(request.ignored),
        texts_(request.inputs.size()),
        open_count_(request.inputs.size()) {}

  void open() override {}

  void chunk(std::size_t sequence, const infer::Chunk& chunk) override {
    if (ended_ || !chunk.finish) return;
    if (chunk.finish == infer::FinishReason::kError || chunk.finish == infer::FinishReason::kAborted) {
      ended_ = true;
      return exchange_->respond(error_response(generation_error(chunk)));
    }
    texts_[sequence] = vector_text(shape(chunk.embedding, dimensions_));
    tokens_ += chunk.prompt_tokens;
    if (--open_count_ == 0) end();
  }

 private:
  std::string vector_text(const std::vector<float>& values) const {
    if (base64_) return '"' + base64_floats(values) + '"';
    return fmt::format("[{}]", fmt::join(values, ","));
  }

  void end() {
    ended_ = true;
    std::string body = R"({"object":"list","data":[)";
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      body += fmt::format(R"({}{{"object":"embedding","index":{},"embedding":{}}})", i > 0 ? "," : "", i,
                          texts_[i]);
    }
    body += fmt::format(R"(],"model":{},"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})",
                        json_string(model_->name), tokens_, tokens_);
    exchange_->respond(json_response(std::move(body), ignored_));
  }

  const ModelPtr model_;
  const ExchangePtr exchange_;
  const bool base64_;
  const std::int64_t dimensions_;
  const std::vector<std::string> ignored_;
  std::vector<std::string> texts_;
  std::size_t open_count_;
  std::int64_t tokens_ = 0;
  bool ended_ = false;
};

base::Status check_dimensions(const ServedModel& model, std::int64_t dimensions) {
  const std::int64_t width = model.card->config.width;
  if (dimensions <= width) return base::Ok{};
  return field_error("dimensions",
                     fmt::format("dimensions is {}, but this model's vectors have {}", dimensions, width));
}

}  // namespace

void handle_embeddings(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr base = context->ready_model(exchange);
  if (base == nullptr) return;
  const auto request = parse_embedding_request(exchange->request().body);
  if (!request.ok()) return fail(exchange, request.error());
  const auto found = context->find(request->model);
  if (!found.ok()) return fail(exchange, found.error());
  const ModelPtr& model = *found;
  if (const auto fits = check_dimensions(*model, request->dimensions); !fits.ok())
    return fail(exchange, fits.error());
  const auto few = check_sequence_count(*context, "input", request->inputs.size());
  if (!few.ok()) return fail(exchange, few.error());

  std::vector<infer::GenerateRequest> sequences;
  for (const Prompt& input : request->inputs) {
    auto ids = prompt_ids(*model, "input", input, true);
    if (!ids.ok()) return fail(exchange, ids.error());
    if (ids->empty())
      return fail(exchange, field_error("input", "input has an empty entry: there is nothing to embed"));
    if (const auto too_long = check_length(*model, ids->size(), 0))
      return exchange->respond(error_response(*too_long));
    infer::GenerateRequest sequence;
    sequence.prompt = std::move(ids).value();
    sequence.max_tokens = 0;
    sequence.embed = true;
    sequence.adapter = model->adapter;
    if (model->adapter != nullptr) sequence.adapter_name = model->name;
    sequences.push_back(std::move(sequence));
  }
  start_generation(context, model, exchange, std::move(sequences),
                   std::make_unique<EmbeddingWriter>(model, exchange, *request));
}

}  // namespace tw::serve
