#include "serve/completion_request.h"

#include <algorithm>
#include <array>

#include "serve/errors.h"

namespace tw::serve {
namespace {

constexpr std::size_t kMaxPrompts = 2048;
constexpr int kMaxLogprobs = 20;
constexpr double kMaxTokenId = 2147483647;
constexpr std::string_view kPromptForms =
    "a string, a list of strings, a list of token ids or a list of such lists";

base::Result<std::vector<std::int32_t>> parse_ids(std::string_view field, const Value& list) {
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (const Value& id : list) {
    if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > kMaxTokenId) {
      return field_error(field, fmt::format("{} has {} where a token id must be", field, preview(id)));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

base::Status store_prompt(CompletionRequest& request, const Value& value) {
  TW_ASSIGN_OR_RETURN(request.prompts, parse_prompts("prompt", value));
  return base::Ok{};
}

base::Status store_echo(CompletionRequest& request, const Value& value) {
  request.echo = value.get<bool>();
  return base::Ok{};
}

base::Status store_logprobs(CompletionRequest& request, const Value& value) {
  request.logprobs = value.get<int>();
  return base::Ok{};
}

base::Status store_suffix(CompletionRequest&, const Value& value) {
  if (value.get_ref<const std::string&>().empty()) return base::Ok{};
  return base::Error{base::Code::kUnsupported, "suffix is not supported: write the whole prompt yourself",
                     "suffix"};
}

base::Status store_model(EmbeddingRequest& request, const Value& value) {
  request.model = value.get<std::string>();
  return base::Ok{};
}

base::Status store_input(EmbeddingRequest& request, const Value& value) {
  TW_ASSIGN_OR_RETURN(request.inputs, parse_prompts("input", value));
  return base::Ok{};
}

base::Status store_encoding(EmbeddingRequest& request, const Value& value) {
  if (value != "float" && value != "base64") {
    return field_error("encoding_format",
                       fmt::format("encoding_format must be float or base64, but is {}", preview(value)));
  }
  request.base64 = value == "base64";
  return base::Ok{};
}

base::Status store_dimensions(EmbeddingRequest& request, const Value& value) {
  request.dimensions = static_cast<std::int64_t>(value.get<double>());
  return base::Ok{};
}

using CompletionRow = Field<CompletionRequest>;
constexpr std::array kCompletionRows = {
    CompletionRow{{"prompt", FieldType::kAny, 0, 0, kPromptForms}, store_prompt},
    CompletionRow{{"echo", FieldType::kBool, 0, 0, "the prompt comes back before the answer"}, store_echo},
    CompletionRow{{"logprobs", FieldType::kInteger, 0, kMaxLogprobs,
                   "natural logarithms of the tokens' probabilities, and of the k most likely"},
                  store_logprobs},
    CompletionRow{{"suffix", FieldType::kString, 0, 1048576, "not supported"}, store_suffix},
};

using EmbeddingRow = Field<EmbeddingRequest>;
constexpr std::array kEmbeddingRows = {
    EmbeddingRow{{"model", FieldType::kString, 0, 512, "name of the model"}, store_model},
    EmbeddingRow{{"input", FieldType::kAny, 0, 0, kPromptForms}, store_input},
    EmbeddingRow{
        {"encoding_format", FieldType::kString, 0, 16, "float or base64 (little-endian 32-bit floats)"},
        store_encoding},
    EmbeddingRow{
        {"dimensions", FieldType::kInteger, 1, 1048576, "the first so many values, scaled to length 1"},
        store_dimensions},
    EmbeddingRow{{"user", FieldType::kString, 0, 1024, "accepted; has no effect"},
                 [](EmbeddingRequest&, const Value&) -> base::Status { return base::Ok{}; }},
};

}  // namespace

base::Result<std::vector<Prompt>> parse_prompts(std::string_view field, const Value& value) {
  std::vector<Prompt> prompts;
  if (value.is_string()) {
    prompts.emplace_back(value.get<std::string>());
    return prompts;
  }
  if (!value.is_array() || value.empty()) {
    return field_error(field, fmt::format("{} must be {}, but is {}", field, kPromptForms, preview(value)));
  }
  if (value[0].is_number()) {
    TW_ASSIGN_OR_RETURN(auto ids, parse_ids(field, value));
    prompts.emplace_back(std::move(ids));
    return prompts;
  }
  if (value.size() > kMaxPrompts) {
    return field_error(
        field, fmt::format("{} has {} entries, but may have at most {}", field, value.size(), kMaxPrompts));
  }
  for (const Value& entry : value) {
    if (entry.is_string()) {
      prompts.emplace_back(entry.get<std::string>());
    } else if (entry.is_array()) {
      TW_ASSIGN_OR_RETURN(auto ids, parse_ids(field, entry));
      prompts.emplace_back(std::move(ids));
    } else {
      return field_error(field,
                         fmt::format("{} must be {}, but has {} in it", field, kPromptForms, preview(entry)));
    }
  }
  return prompts;
}

std::span<const Field<CompletionRequest>> completion_fields() {
  return kCompletionRows;
}
std::span<const Field<EmbeddingRequest>> embedding_fields() {
  return kEmbeddingRows;
}

base::Result<CompletionRequest> parse_completion_request(std::string_view text,
                                                         const infer::SamplingParams& defaults) {
  TW_ASSIGN_OR_RETURN(const Value body, parse_body(text));
  CompletionRequest request;
  request.sampling = defaults;
  TW_RETURN_IF_ERROR(read_fields(body, completion_fields(), generate_fields(), request, request.ignored));
  if (request.prompts.empty())
    return field_error("prompt", fmt::format("prompt is missing: send {}", kPromptForms));
  if (request.max_tokens == 0 && !request.echo) {
    return field_error("max_tokens",
                       "max_tokens may be 0 only with echo: true, else there is nothing to answer");
  }
  return request;
}

base::Result<EmbeddingRequest> parse_embedding_request(std::string_view text) {
  TW_ASSIGN_OR_RETURN(const Value body, parse_body(text));
  EmbeddingRequest request;
  const std::span<const Field<EmbeddingRequest>> none;
  TW_RETURN_IF_ERROR(read_fields(body, embedding_fields(), none, request, request.ignored));
  if (request.inputs.empty())
    return field_error("input", fmt::format("input is missing: send {}", kPromptForms));
  return request;
}

}  // namespace tw::serve
