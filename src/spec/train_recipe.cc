#include "spec/train_recipe.h"

#include <algorithm>
#include <concepts>
#include <cstdlib>
#include <map>
#include <optional>

#include "base/mmap.h"
#include "spec/key_lines.h"

namespace tw::spec {
namespace {

using base::Code;
using base::Error;
using base::Json;
using base::Ok;
using base::OrderedJson;
using base::Status;

constexpr std::size_t kMaxRecipeBytes = 1 << 20;

template <typename T>
concept Group = requires(T& t) { T::visit(t, [](auto&&...) {}); };

/// Changes of one letter that make b of a (Levenshtein's distance). Names are short.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

const char* type_name(const OrderedJson& json) {
  if (json.is_string()) return "text";
  if (json.is_number_float()) return "a number with a fraction";
  if (json.is_number()) return "a number";
  if (json.is_boolean()) return "true or false";
  if (json.is_array()) return "a list";
  return json.is_object() ? "an object" : "null";
}

/// What is wrong with a value; empty: nothing.
std::string broken_rule(const TrainRule& rule, double value) {
  if (rule.low == rule.high || (value >= rule.low && value <= rule.high)) return {};  // a NaN is neither
  return fmt::format("is {}, but must be {} to {}", value, rule.low, rule.high);
}
std::string broken_rule(const TrainRule& rule, const std::string& value) {
  if (rule.words == nullptr) return {};
  const std::string_view words = rule.words;
  std::string list;
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == value) return {};
    list += (list.empty() ? "" : ", ") + std::string(words.substr(at, end - at));
    at = end + 1;
  }
  return fmt::format("is {}, but must be one of: {}", base::dump_json(Json(value.substr(0, 80))), list);
}

/// Moves the values of one JSON object into a group of fields.
class Reader {
 public:
  Reader(const KeyLines& lines, std::string file, RecipeSource source)
      : lines_(lines), file_(std::move(file)), source_(source) {}

  template <Group T>
  void read(const OrderedJson& json, const std::string& path, T& group) {
    if (!json.is_object()) return wrong(path, json, "an object");
    std::vector<std::string> known;
    T::visit(group, [&](const std::string& name, auto& field, const char* /*help*/, const TrainRule& rule) {
      known.push_back(name);
      const auto found = json.find(name);
      if (!error_ && found != json.end()) value(*found, path.empty() ? name : path + "." + name, field, rule);
      if constexpr (std::is_same_v<T, TrainModel>) {
        if (found != json.end()) group.given.push_back(name);
      }
    });
    for (const auto& item : json.items()) {
      if (!error_ && std::find(known.begin(), known.end(), item.key()) == known.end())
        unknown(item.key(), path, known);
    }
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  template <Group T>
  void value(const OrderedJson& json, const std::string& path, T& field, const TrainRule& /*rule*/) {
    read(json, path, field);
  }
  template <Group T>
  void value(const OrderedJson& json, const std::string& path, std::vector<T>& field,
             const TrainRule& /*rule*/) {
    if (!json.is_array()) return wrong(path, json, "a list");
    if (json.size() > kMaxItems)
      return fail(path, fmt::format("has {} items, but may have {}", json.size(), kMaxItems));
    field.assign(json.size(), T{});
    for (std::size_t i = 0; i < json.size() && !error_; ++i)
      read(json[i], fmt::format("{}[{}]", path, i), field[i]);
  }
  void value(const OrderedJson& json, const std::string& path, std::string& field, const TrainRule& rule) {
    if (!json.is_string()) return wrong(path, json, "text");
    keep(path, json.get<std::string>(), field, rule);
  }
  void value(const OrderedJson& json, const std::string& path, bool& field, const TrainRule& /*rule*/) {
    if (!json.is_boolean()) return wrong(path, json, "true or false");
    field = json.get<bool>();
  }
  void value(const OrderedJson& json, const std::string& path, double& field, const TrainRule& rule) {
    if (!json.is_number()) return wrong(path, json, "a number");
    if (not_given(json, rule)) return;
    keep(path, json.get<double>(), field, rule);
  }
  template <std::integral T>
  void value(const OrderedJson& json, const std::string& path, T& field, const TrainRule& rule) {
    if (!json.is_number_integer()) return wrong(path, json, "a whole number");
    if (not_given(json, rule)) return;
    if (const std::string what = broken_rule(rule, json.get<double>()); !what.empty())
      return fail(path, what);
    field = json.get<T>();
  }
  bool not_given(const OrderedJson& json, const TrainRule& rule) const {
    return rule.optional && source_ == RecipeSource::kRun && json.get<double>() == kNotGiven;
  }
  template <typename T>
  void keep(const std::string& path, T value, T& field, const TrainRule& rule) {
    if (const std::string what = broken_rule(rule, value); !what.empty()) return fail(path, what);
    field = std::move(value);
  }

  void fail(const std::string& path, const std::string& what) {
    const std::string key = path.substr(path.rfind('.') + 1);
    error_ = Error{Code::kInvalidArgument,
                   path.empty() ? "the recipe " + what : fmt::format("\"{}\" {}", key, what),
                   fmt::format("{}:{}", file_, lines_.line(path))};
  }
  void wrong(const std::string& path, const OrderedJson& json, const char* wanted) {
    fail(path, fmt::format("is {}, but must be {}", type_name(json), wanted));
  }
  void unknown(const std::string& key, const std::string& path, const std::vector<std::string>& known) {
    const std::string shown = key.substr(0, 80);
    const auto nearest = std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
      return edits(shown, a) < edits(shown, b);
    });
    error_ = Error{Code::kInvalidArgument,
                   fmt::format("there is no {}{}; the nearest is \"{}\"", base::dump_json(Json(shown)),
                               path.empty() ? "" : " in " + path, *nearest),
                   fmt::format("{}:{}", file_, lines_.line(path.empty() ? key : path + "." + key))};
  }

  static constexpr std::size_t kMaxItems = 4096;
  const KeyLines& lines_;
  const std::string file_;
  const RecipeSource source_;
  std::optional<Error> error_;
};

struct Writer {
  OrderedJson out = OrderedJson::object();

  template <typename T>
  void operator()(const char* name, const T& field, const char* /*help*/, const TrainRule& rule) {
    if constexpr (std::is_arithmetic_v<T>) {
      if (rule.optional && static_cast<double>(field) == kNotGiven) return;
    }
    out[name] = json_of(field);
  }
  template <Group T>
  static OrderedJson json_of(const T& group) {
    Writer inner;
    T::visit(group, inner);
    return inner.out;
  }
  template <Group T>
  static OrderedJson json_of(const std::vector<T>& list) {
    OrderedJson items = OrderedJson::array();
    for (const T& item : list) items.push_back(json_of(item));
    return items;
  }
  template <typename T>
  static OrderedJson json_of(const T& value) {
    return value;
  }
};

/// Flattens the fields; those of a stage come without "stages".
struct Lister {
  std::vector<TrainField>& all;
  std::size_t stage;
  std::string key = {}, flag = {};

  template <typename T>
  void operator()(const char* name, T& field, const char* help, const TrainRule& rule) {
    if constexpr (Group<T>) {
      T::visit(field, Lister{all, stage, key + name + ".", flag + name + "-"});
    } else {
      all.push_back({key + name, flag + name, &field, help, rule});
    }
  }
  void operator()(const char* name, std::vector<TrainStage>& stages, const char* /*help*/,
                  const TrainRule& /*rule*/) {
    TrainStage::visit(stages[stage], Lister{all, stage, key + name + "[].", flag});
  }
  void operator()(const char* /*name*/, std::vector<TrainData>& /*data*/, const char* /*help*/,
                  const TrainRule& /*rule*/) {}
};

/// A field's line of the table, and those below it.
struct TableWriter {
  std::string& out;
  std::string key = {};

  template <typename T>
  void operator()(const char* name, const T& field, const char* help, const TrainRule& /*rule*/) {
    const std::string path = key + name;
    if constexpr (Group<T>) {
      out += fmt::format("| **`{}`** | | {} |\n", path, help);
      T::visit(field, TableWriter{out, path + "."});
    } else {
      const bool in_words = std::string_view(help).find("(default:") != std::string_view::npos;
      const std::string value = base::dump_json(OrderedJson(field));
      out += fmt::format("| `{}` | {} | {} |\n", path, in_words || value == "\"\"" ? "" : "`" + value + "`",
                         help);
    }
  }
  template <Group T>
  void operator()(const char* name, const std::vector<T>& /*list*/, const char* help,
                  const TrainRule& /*rule*/) {
    const std::string path = key + name + "[]";
    out += fmt::format("| **`{}`** | | {} |\n", path, help);
    const T item;
    T::visit(item, TableWriter{out, path + "."});
  }
};

/// JSON's errors tell a byte; people look for lines.
Error syntax_error(const Error& error, const std::string& text, const std::string& file) {
  const std::size_t at = error.message.find("at byte ");
  const std::size_t byte =
      at == std::string::npos ? 0 : std::strtoull(error.message.c_str() + at + 8, nullptr, 10);
  const auto line =
      1 +
      std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(byte, text.size())), '\n');
  return {error.code, error.message, fmt::format("{}:{}", file, line)};
}

}  // namespace

base::Result<TrainConfig> parse_recipe(const std::string& text, const std::string& file,
                                       RecipeSource source) {
  // The parser takes a zero byte for the end, and what follows for nothing.
  if (const std::size_t zero = text.find('\0'); zero != std::string::npos)
    return syntax_error(base::error(Code::kCorrupt, "not valid JSON at byte {}: a zero byte", zero), text,
                        file);
  auto json = base::parse_ordered_json(text);
  if (!json.ok()) return syntax_error(json.error(), text, file);
  const KeyLines lines(text);
  for (const auto& [path, line] : lines.repeated())
    return Error{Code::kInvalidArgument, fmt::format("\"{}\" is given twice", path.substr(0, 200)),
                 fmt::format("{}:{}", file, line)};
  TrainConfig config;
  Reader reader(lines, file, source);
  reader.read(*json, "", config);
  if (reader.error()) return *reader.error();
  return config;
}

base::Result<TrainConfig> read_recipe(const std::string& path) {
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(path, kMaxRecipeBytes));
  return parse_recipe(text, path);
}

OrderedJson recipe_json(const TrainConfig& config) {
  return Writer::json_of(config);
}

std::vector<TrainField> train_fields(TrainConfig& config, std::size_t stage) {
  TW_CHECK(stage < config.stages.size(), "the stage is there");
  std::vector<TrainField> fields;
  TrainConfig::visit(config, Lister{fields, stage});
  return fields;
}

bool TrainField::not_given() const {
  const auto holds = [](const auto* value) {
    if constexpr (std::is_same_v<decltype(value), const std::string*>)
      return false;
    else
      return static_cast<double>(*value) == kNotGiven;
  };
  return rule.optional && std::visit(holds, value);
}

Status check_field(const TrainField& field) {
  const std::string what = std::visit(
      [&](const auto* value) -> std::string {
        if constexpr (std::is_same_v<decltype(value), const std::string*>)
          return broken_rule(field.rule, *value);
        else
          return broken_rule(field.rule, static_cast<double>(*value));
      },
      field.value);
  if (what.empty()) return Ok{};
  return base::error(Code::kInvalidArgument, "--{} {}", field.flag, what);
}

std::string recipe_table() {
  std::string out = "| key | default | what |\n|---|---|---|\n";
  const TrainConfig config;
  TrainConfig::visit(config, TableWriter{out});
  return out;
}

}  // namespace tw::spec
