#include "plan/claims.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "plan/estimate.h"
#include "plan/expression.h"
#include "plan/network.h"
#include "spec/field_file.h"
#include "spec/measure.h"

namespace tw::plan {
namespace {

using base::Code;
using base::OrderedJson;

/// A number, or text with any unit there is, in that unit's base: "15 MW" is 15e6.
base::Result<double> number_of(const OrderedJson& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return base::error(Code::kInvalidArgument, "it is neither a number nor text");
  const auto text = value.get<std::string>();
  for (int d = 0; d <= static_cast<int>(spec::Dimension::kGramsPerKwh); ++d) {
    if (auto parsed = spec::parse_measure(static_cast<spec::Dimension>(d), text); parsed.ok()) return parsed;
  }
  return base::error(Code::kInvalidArgument, "\"{}\" is no number with a unit", text);
}

class Reader {
 public:
  Reader(std::string_view written, const OrderedJson& json, ClaimResult& result)
      : written_(written), json_(json), result_(result) {}

  base::Status run() {
    static constexpr std::string_view kFields[] = {"claim",  "source", "models", "inputs",
                                                   "assume", "steps",  "checks"};
    TW_RETURN_IF_ERROR(knows(json_, kFields, "a claim", 1));
    TW_ASSIGN_OR_RETURN(result_.claim, text(json_, "claim"));
    TW_ASSIGN_OR_RETURN(result_.source, text(json_, "source"));
    TW_RETURN_IF_ERROR(read_models());
    TW_RETURN_IF_ERROR(read_numbers("inputs", result_.inputs));
    TW_RETURN_IF_ERROR(read_numbers("assume", result_.assumptions));
    TW_RETURN_IF_ERROR(read_steps());
    TW_RETURN_IF_ERROR(read_checks());
    if (result_.inputs.empty() || result_.checks.empty())
      return base::error(Code::kInvalidArgument, "a claim has inputs and checks");
    return base::Ok{};
  }
  /// Where the error is; 0: in no one line.
  int line() const { return line_; }

 private:
  /// An unknown field is often a known one misspelt. `depth`: how many brackets `object` is inside.
  base::Status knows(const OrderedJson& object, std::span<const std::string_view> fields, const char* what,
                     int depth) {
    if (!object.is_object()) return base::Ok{};
    for (const auto& [key, value] : object.items()) {
      if (std::find(fields.begin(), fields.end(), key) != fields.end()) continue;
      line_ = spec::line_of_key(written_, key, depth);
      return base::error(Code::kInvalidArgument, "there is no field \"{}\" in {}: there are {}", key, what,
                         fmt::join(fields, ", "));
    }
    return base::Ok{};
  }

  static base::Result<std::string> text(const OrderedJson& object, const char* key, bool needed = true) {
    if (!object.is_object())
      return base::error(Code::kInvalidArgument, "\"{}\" is wanted of what is no object", key);
    const auto it = object.find(key);
    if (it == object.end() && !needed) return std::string();
    if (it == object.end() || !it->is_string())
      return base::error(Code::kInvalidArgument, "\"{}\" is no text", key);
    return it->get<std::string>();
  }

  base::Status read_models() {
    if (!json_.contains("models")) return base::Ok{};
    for (const auto& [alias, name] : json_["models"].items()) {
      if (!name.is_string()) return base::error(Code::kInvalidArgument, "models: {} is no text", alias);
      TW_ASSIGN_OR_RETURN(const PlannedModel model, find_model(name.get<std::string>()));
      models_.emplace(alias, model);
    }
    return base::Ok{};
  }

  base::Status read_numbers(const char* section, std::vector<ClaimStep>& list) {
    if (!json_.contains(section)) return base::Ok{};
    for (const auto& [name, value] : json_[section].items()) {
      const auto number = number_of(value);
      if (!number.ok())
        return base::error(Code::kInvalidArgument, "{}: {}: {}", section, name, number.error().message);
      list.push_back({name, value.is_string() ? value.get<std::string>() : value.dump(), {}, *number});
      known_[name] = *number;
    }
    return base::Ok{};
  }

  base::Status read_steps() {
    if (!json_.contains("steps")) return base::Ok{};
    for (const OrderedJson& step : json_["steps"]) {
      if (!step.is_array() || step.size() != 3 ||
          !std::all_of(step.begin(), step.end(), [](const auto& s) { return s.is_string(); }))
        return base::error(Code::kInvalidArgument, "a step is [name, formula, unit]");
      ClaimStep made{step[0].get<std::string>(), step[1].get<std::string>(), step[2].get<std::string>(), 0};
      TW_ASSIGN_OR_RETURN(made.value, formula(made.formula));
      known_[made.name] = made.value;
      result_.steps.push_back(std::move(made));
    }
    return base::Ok{};
  }

  base::Status read_checks() {
    if (!json_.contains("checks")) return base::Ok{};
    static constexpr std::string_view kFields[] = {"text", "value", "low", "high", "by", "needs"};
    for (const OrderedJson& check : json_["checks"]) {
      TW_RETURN_IF_ERROR(knows(check, kFields, "a check", 3));
      ClaimCheck c;
      TW_ASSIGN_OR_RETURN(c.text, text(check, "text"));
      TW_ASSIGN_OR_RETURN(c.by, text(check, "by"));
      TW_ASSIGN_OR_RETURN(c.needs, text(check, "needs", false));
      for (const auto& [key, number] :
           {std::pair("value", &c.value), std::pair("low", &c.low), std::pair("high", &c.high)}) {
        TW_ASSIGN_OR_RETURN(const std::string written, text(check, key));
        TW_ASSIGN_OR_RETURN(*number, formula(written));
      }
      const bool inside = c.value >= c.low && c.value <= c.high;
      c.verdict = !inside           ? Verdict::kContradicted
                  : c.needs.empty() ? Verdict::kConsistent
                                    : Verdict::kNeedsAssumption;
      if (c.verdict > result_.verdict) {
        result_.verdict = c.verdict;
        result_.reason = inside ? c.needs : c.by;
      }
      result_.checks.push_back(std::move(c));
    }
    return base::Ok{};
  }

  base::Result<double> formula(const std::string& written) {
    return evaluate(written, [this](const std::string& name, std::span<const double> arguments) {
      return value(name, arguments);
    });
  }

  base::Result<double> value(const std::string& name, std::span<const double> arguments) {
    if (name == "goodput" && arguments.size() == 4) {
      TW_ASSIGN_OR_RETURN(const Goodput g, goodput(arguments[0], arguments[1], arguments[2], arguments[3]));
      return g.share;
    }
    if (name == "fat_tree" && arguments.size() == 3) {
      int whole[3];
      for (int i = 0; i < 3; ++i) {
        if (arguments[i] != std::floor(arguments[i]) || arguments[i] < 1 || arguments[i] > 1e6)
          return base::error(Code::kInvalidArgument, "fat_tree wants whole numbers: tiers, ports, ports");
        whole[i] = static_cast<int>(arguments[i]);
      }
      return fat_tree_reach(whole[0], whole[1], whole[2]);
    }
    if (!arguments.empty())
      return base::error(Code::kNotFound, "there is no function \"{}\" of {}", name, arguments.size());
    if (const auto it = known_.find(name); it != known_.end()) return it->second;
    const std::size_t dot = name.find('.');
    if (dot == std::string::npos) return base::error(Code::kNotFound, "there is no \"{}\"", name);
    const std::string thing = name.substr(0, dot), field = name.substr(dot + 1);
    if (const auto it = models_.find(thing); it != models_.end()) return of_model(it->second.config, field);
    TW_ASSIGN_OR_RETURN(const Accelerator* accelerator, Catalogue::shipped().find(spaced(thing)));
    for (int i = 0; i < kFields; ++i) {
      if (field != field_info(static_cast<Field>(i)).column) continue;
      TW_ASSIGN_OR_RETURN(const Quantity q, accelerator->get(static_cast<Field>(i)));
      return q.value;
    }
    return base::error(Code::kNotFound, "the catalogue has no column \"{}\"", field);
  }

  static std::string spaced(std::string name) {
    std::replace(name.begin(), name.end(), '_', ' ');
    return name;
  }

  static base::Result<double> of_model(const spec::ModelConfig& model, const std::string& field) {
    if (field == "parameters") return static_cast<double>(model.parameter_count());
    if (field == "active") return static_cast<double>(model.active_parameter_count());
    if (field != "flops_per_token") return base::error(Code::kNotFound, "a model has no \"{}\"", field);
    const std::int64_t tokens = std::min<std::int64_t>(model.context, 4096);
    TW_ASSIGN_OR_RETURN(const double flops, model_flops(model, {tokens, 1, Precision::kBf16}));
    return flops / static_cast<double>(tokens);
  }

  std::string_view written_;
  int line_ = 0;
  const OrderedJson& json_;
  ClaimResult& result_;
  std::map<std::string, double> known_;
  std::map<std::string, PlannedModel> models_;
};

std::string number(double value) {
  return fmt::format("{:.4g}", value);
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  static constexpr std::string_view kNames[] = {"consistent", "needs an assumption", "contradicted"};
  return kNames[static_cast<int>(verdict)];
}

base::Result<ClaimResult> check_claim(const std::string& file, std::string_view text) {
  ClaimResult result;
  result.file = file;
  const auto parsed = base::parse_ordered_json(text, 8);
  if (!parsed.ok()) return base::Error{parsed.error().code, parsed.error().message, file};
  const OrderedJson& json = *parsed;
  if (!json.is_object()) return base::Error{Code::kCorrupt, "is no JSON object", file};
  Reader reader(text, json, result);
  if (auto status = reader.run(); !status.ok())
    return base::Error{status.error().code, status.error().message,
                       reader.line() > 0 ? fmt::format("{}:{}", file, reader.line()) : file};
  return result;
}

std::string claim_text(const ClaimResult& c) {
  std::string text = fmt::format("{}: {}{}\n  claim: {}\n  source: {}\n", c.file, verdict_name(c.verdict),
                                 c.verdict == Verdict::kConsistent        ? ""
                                 : c.verdict == Verdict::kNeedsAssumption ? " (" + c.reason + ")"
                                                                          : " by " + c.reason,
                                 c.claim, c.source);
  for (const ClaimStep& s : c.inputs) text += fmt::format("  input   {} = {}\n", s.name, s.formula);
  for (const ClaimStep& s : c.assumptions) text += fmt::format("  assume  {} = {}\n", s.name, s.formula);
  for (const ClaimStep& s : c.steps)
    text += fmt::format("  step    {} = {} = {}{}{}\n", s.name, s.formula, number(s.value),
                        s.unit.empty() ? "" : " ", s.unit);
  for (const ClaimCheck& k : c.checks)
    text += fmt::format("  check   {}: {} {} {} to {}\n", k.text, number(k.value),
                        k.verdict == Verdict::kContradicted ? "is outside" : "is within", number(k.low),
                        number(k.high));
  return text;
}

base::OrderedJson claim_json(const ClaimResult& c) {
  OrderedJson j = {
      {"file", c.file}, {"claim", c.claim}, {"verdict", verdict_name(c.verdict)}, {"reason", c.reason}};
  // Arithmetic on numbers that are taken as they were claimed: the checks have the ranges.
  const auto list = [&](const std::vector<ClaimStep>& steps, Provenance provenance) {
    for (const ClaimStep& s : steps) {
      j["numbers"][s.name] = {{"formula", s.formula}};
      j["numbers"][s.name].update(to_json(Quantity::around(s.value, 0, s.unit, provenance)));
    }
  };
  list(c.inputs, Provenance::kVendorClaim);
  list(c.assumptions, Provenance::kAssumed);
  list(c.steps, Provenance::kExtrapolated);
  for (const ClaimCheck& k : c.checks)
    j["checks"].push_back({{"text", k.text},
                           {"value", k.value},
                           {"low", k.low},
                           {"high", k.high},
                           {"needs", k.needs},
                           {"by", k.by},
                           {"verdict", verdict_name(k.verdict)}});
  return j;
}

}  // namespace tw::plan
