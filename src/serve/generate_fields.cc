#include "serve/generate_fields.h"

#include <array>
#include <charconv>
#include <functional>

#include "serve/errors.h"

namespace tw::serve {
namespace {

constexpr std::size_t kMaxStops = 16;
constexpr std::size_t kMaxStopBytes = 1024;
constexpr double kInt31 = 2147483647;
constexpr double kInt63 = 9223372036854775807.0;

using Request = GenerateFields;

/// For the rows that only copy a number, a truth value or a text: `store<&Request::field>`.
template <auto member>
base::Status store(Request& request, const Value& value) {
  using T = std::remove_cvref_t<decltype(request.*member)>;
  request.*member = value.get<T>();
  return base::Ok{};
}

template <auto member>
base::Status store_sampling(Request& request, const Value& value) {
  using T = std::remove_cvref_t<decltype(request.sampling.*member)>;
  request.sampling.*member = static_cast<T>(value.get<double>());
  return base::Ok{};
}

base::Status store_top_k(Request& request, const Value& value) {
  const auto k = static_cast<std::int32_t>(value.get<double>());
  request.sampling.top_k = k < 0 ? 0 : k;  // -1 is another spelling of "all"
  return base::Ok{};
}

/// Zero means "the most likely token only"; the smallest step above it has the same effect in the sampler.
template <auto member>
base::Status store_share(Request& request, const Value& value) {
  request.sampling.*member = std::max(value.get<float>(), 1e-6F);
  return base::Ok{};
}

base::Status store_seed(Request& request, const Value& value) {
  const bool negative = value.get<double>() < 0;
  request.seed =
      negative ? static_cast<std::uint64_t>(value.get<std::int64_t>()) : value.get<std::uint64_t>();
  return base::Ok{};
}

base::Status store_add_special(Request& request, const Value& value) {
  request.add_special = value.get<bool>();
  return base::Ok{};
}

base::Status store_max_tokens(Request& request, const Value& value) {
  request.max_tokens = static_cast<std::int64_t>(value.get<double>());
  return base::Ok{};
}

base::Status store_best_of(Request&, const Value& value) {
  if (value.get<double>() == 1) return base::Ok{};
  return field_error("best_of", "best_of is not supported: use n, and choose among the answers yourself");
}

base::Status add_stop(Request& request, const Value& value) {
  if (!value.is_string()) return field_error("stop", "stop must be a string or a list of strings");
  const auto& text = value.get_ref<const std::string&>();
  if (text.empty() || text.size() > kMaxStopBytes) {
    return field_error("stop", fmt::format("a stop string has 1 to {} bytes, but this one has {}",
                                           kMaxStopBytes, text.size()));
  }
  request.stop.push_back(text);
  return base::Ok{};
}

base::Status store_stop(Request& request, const Value& value) {
  request.stop.clear();
  if (!value.is_array()) return add_stop(request, value);
  if (value.size() > kMaxStops) {
    return field_error("stop",
                       fmt::format("stop may have at most {} strings, but has {}", kMaxStops, value.size()));
  }
  for (const Value& entry : value) TW_RETURN_IF_ERROR(add_stop(request, entry));
  return base::Ok{};
}

base::Status store_logit_bias(Request& request, const Value& value) {
  for (const auto& [key, bias] : value.items()) {
    std::int32_t token = -1;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (problem != std::errc() || end != key.data() + key.size() || token < 0) {
      return field_error("logit_bias", "logit_bias has token ids as keys, written as \"1234\"");
    }
    if (!bias.is_number() || bias.get<double>() < -100 || bias.get<double>() > 100) {
      return field_error("logit_bias",
                         fmt::format("logit_bias of token {} must be a number from -100 to 100, but is {}",
                                     token, preview(bias)));
    }
    request.sampling.logit_bias.emplace_back(token, bias.get<float>());
  }
  return base::Ok{};
}

base::Status store_stream_options(Request& request, const Value& value) {
  for (const auto& [name, target] : {std::pair("include_usage", &request.include_usage),
                                     std::pair("continuous_usage_stats", &request.usage_each_chunk)}) {
    const auto found = value.find(name);
    if (found == value.end() || found->is_null()) continue;
    if (!found->is_boolean()) {
      return field_error("stream_options", fmt::format("stream_options.{} must be true or false", name));
    }
    *target = found->get<bool>();
  }
  return base::Ok{};
}

base::Status store_cache_salt(Request& request, const Value& value) {
  request.cache_salt = std::hash<std::string>{}(value.get_ref<const std::string&>());
  return base::Ok{};
}

template <Constraint::Kind kind>
base::Status store_text_constraint(Request& request, const Value& value, std::string_view field) {
  return set_constraint(request, {kind, std::string(field), value.get<std::string>(), {}});
}

base::Status store_grammar(Request& request, const Value& value) {
  return store_text_constraint<Constraint::Kind::kGbnf>(request, value, "grammar");
}
base::Status store_guided_grammar(Request& request, const Value& value) {
  return store_text_constraint<Constraint::Kind::kGbnf>(request, value, "guided_grammar");
}
base::Status store_regex(Request& request, const Value& value) {
  return store_text_constraint<Constraint::Kind::kRegex>(request, value, "regex");
}
base::Status store_guided_regex(Request& request, const Value& value) {
  return store_text_constraint<Constraint::Kind::kRegex>(request, value, "guided_regex");
}

base::Status store_choice(Request& request, const Value& value, std::string_view field) {
  for (const Value& entry : value) {
    if (!entry.is_string()) return field_error(field, fmt::format("{} must be a list of strings", field));
  }
  if (value.empty()) return field_error(field, fmt::format("{} must have at least one entry", field));
  return set_constraint(request, {Constraint::Kind::kChoice, std::string(field), {}, value});
}

base::Status store_guided_choice(Request& request, const Value& value) {
  return store_choice(request, value, "guided_choice");
}

/// A schema as an object, a truth value, or (as vLLM takes it too) the text of one.
base::Status store_schema(Request& request, const Value& value, std::string_view field) {
  Value schema = value;
  if (value.is_string()) {
    auto parsed = base::parse_ordered_json(value.get_ref<const std::string&>());
    if (!parsed.ok()) return field_error(field, fmt::format("{}: {}", field, parsed.error().message));
    schema = std::move(parsed).value();
  }
  if (!schema.is_object() && !schema.is_boolean()) {
    return field_error(field, fmt::format("{} must be a JSON schema, but is {}", field, preview(schema)));
  }
  return set_constraint(request, {Constraint::Kind::kJsonSchema, std::string(field), {}, std::move(schema)});
}

base::Status store_guided_json(Request& request, const Value& value) {
  return store_schema(request, value, "guided_json");
}

/// vLLM's {"json" | "regex" | "choice" | "grammar" | "json_object": ...}
base::Status store_structured_outputs(Request& request, const Value& value) {
  for (const auto& [name, inner] : value.items()) {
    const std::string field = "structured_outputs." + name;
    if (inner.is_null()) continue;
    if (name == "json") {
      TW_RETURN_IF_ERROR(store_schema(request, inner, field));
    } else if (name == "choice" && inner.is_array()) {
      TW_RETURN_IF_ERROR(store_choice(request, inner, field));
    } else if (name == "regex" && inner.is_string()) {
      TW_RETURN_IF_ERROR(store_text_constraint<Constraint::Kind::kRegex>(request, inner, field));
    } else if (name == "grammar" && inner.is_string()) {
      TW_RETURN_IF_ERROR(store_text_constraint<Constraint::Kind::kGbnf>(request, inner, field));
    } else if (name == "json_object" && inner.is_boolean()) {
      if (inner.get<bool>())
        TW_RETURN_IF_ERROR(set_constraint(request, {Constraint::Kind::kJsonObject, field, {}, {}}));
    } else {
      return field_error(
          field, fmt::format("{} is unknown or of the wrong type: structured_outputs takes one of json, "
                             "regex, choice, grammar, json_object",
                             field));
    }
  }
  return base::Ok{};
}

using Row = Field<Request>;
using S = infer::SamplingParams;

constexpr std::array kRows = {
    Row{{"model", FieldType::kString, 0, 512,
         "name of the model, as /v1/models gives it; empty: the one served"},
        store<&Request::model>},
    Row{{"max_tokens", FieldType::kInteger, 0, kInt31,
         "tokens of the answer at most; it also ends where the context does"},
        store_max_tokens},
    Row{{"temperature", FieldType::kNumber, 0, 2, "0: always the most likely token"},
        store_sampling<&S::temperature>},
    Row{{"top_p", FieldType::kNumber, 0, 1,
         "draw from the most likely tokens that together have this probability"},
        store_share<&S::top_p>},
    Row{{"top_k", FieldType::kInteger, -1, kInt31, "draw from the k most likely tokens; 0 or -1: all"},
        store_top_k},
    Row{{"min_p", FieldType::kNumber, 0, 1, "drop tokens less likely than this share of the most likely one"},
        store_sampling<&S::min_p>},
    Row{{"typical_p", FieldType::kNumber, 0, 1, "locally typical sampling"}, store_share<&S::typical_p>},
    Row{{"repetition_penalty", FieldType::kNumber, 0.01, 10, "over prompt and answer; 1: none"},
        store_sampling<&S::repetition_penalty>},
    Row{{"presence_penalty", FieldType::kNumber, -2, 2, "for tokens that the answer has already"},
        store_sampling<&S::presence_penalty>},
    Row{{"frequency_penalty", FieldType::kNumber, -2, 2, "the same, times how often"},
        store_sampling<&S::frequency_penalty>},
    Row{{"logit_bias", FieldType::kObject, 0, 0, "token id to a number from -100 to 100"}, store_logit_bias},
    Row{{"seed", FieldType::kInteger, -kInt63, kInt63,
         "same seed, same answer, whatever else runs; absent: random"},
        store_seed},
    Row{{"n", FieldType::kInteger, 1, 128, "answers to one prompt"}, store<&Request::n>},
    Row{{"stop", FieldType::kAny, 0, 0, "a string or a list of at most 16"}, store_stop},
    Row{{"include_stop_str_in_output", FieldType::kBool, 0, 0, "keep the stop string at the end of the text"},
        store<&Request::include_stop>},
    Row{{"ignore_eos", FieldType::kBool, 0, 0, "go on after the end-of-text token"},
        store<&Request::ignore_eos>},
    Row{{"skip_special_tokens", FieldType::kBool, 0, 0,
         "leave control tokens out of the text (default true)"},
        store<&Request::skip_special>},
    Row{{"add_special_tokens", FieldType::kBool, 0, 0,
         "put BOS and the like around the prompt (default: completions true, chat false)"},
        store_add_special},
    Row{{"stream", FieldType::kBool, 0, 0, "server-sent events instead of one document"},
        store<&Request::stream>},
    Row{{"stream_options", FieldType::kObject, 0, 0,
         "include_usage: a last chunk with the token counts; continuous_usage_stats: in every chunk"},
        store_stream_options},
    Row{{"response_format", FieldType::kObject, 0, 0,
         "{\"type\": \"text\", \"json_object\" or \"json_schema\"}"},
        store_response_format},
    Row{{"grammar", FieldType::kString, 1, 262144, "GBNF that the answer must match"}, store_grammar},
    Row{{"guided_grammar", FieldType::kString, 1, 262144, "the same, by vLLM's name"}, store_guided_grammar},
    Row{{"regex", FieldType::kString, 1, 65536, "regular expression that the whole answer must match"},
        store_regex},
    Row{{"guided_regex", FieldType::kString, 1, 65536, "the same, by vLLM's name"}, store_guided_regex},
    Row{{"guided_json", FieldType::kAny, 0, 0, "JSON schema, as an object or as text"}, store_guided_json},
    Row{{"guided_choice", FieldType::kArray, 1, 1024, "the answer is one of these strings"},
        store_guided_choice},
    Row{{"structured_outputs", FieldType::kObject, 0, 0,
         "vLLM's {json, regex, choice, grammar or json_object}"},
        store_structured_outputs},
    Row{{"best_of", FieldType::kInteger, 1, 128, "only 1"}, store_best_of},
    Row{{"cache_salt", FieldType::kString, 1, 1024,
         "prefix-cache blocks are shared only among requests with the same salt"},
        store_cache_salt},
    Row{{"user", FieldType::kString, 0, 1024, "accepted; has no effect"},
        [](Request&, const Value&) -> base::Status { return base::Ok{}; }},
};

}  // namespace

std::span<const Field<GenerateFields>> generate_fields() {
  return kRows;
}

base::Status set_constraint(GenerateFields& request, Constraint constraint) {
  if (request.constraint.kind != Constraint::Kind::kNone) {
    return field_error(constraint.field, fmt::format("{} and {} both constrain the answer: send one of them",
                                                     request.constraint.field, constraint.field));
  }
  request.constraint = std::move(constraint);
  return base::Ok{};
}

base::Status store_response_format(GenerateFields& request, const Value& value) {
  const auto type = value.find("type");
  const std::string name = type != value.end() && type->is_string() ? type->get<std::string>() : "";
  if (name == "text") return base::Ok{};
  if (name == "json_object")
    return set_constraint(request, {Constraint::Kind::kJsonObject, "response_format", {}, {}});
  if (name != "json_schema") {
    return field_error("response_format", "response_format.type must be text, json_object or json_schema");
  }
  const auto inner = value.find("json_schema");
  if (inner == value.end() || !inner->is_object()) {
    return field_error("response_format", "response_format.json_schema must be an object with a schema");
  }
  const auto schema = inner->find("schema");
  if (schema == inner->end() || schema->is_null()) {
    return field_error("response_format", "response_format.json_schema.schema is missing");
  }
  return store_schema(request, *schema, "response_format");
}

}  // namespace tw::serve
