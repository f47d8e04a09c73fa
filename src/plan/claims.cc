#include "plan/claims.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <utility>

#include "plan/claims_units.h"
#include "plan/estimate.h"
#include "plan/expression.h"
#include "plan/network.h"
#include "spec/field_file.h"
#include "spec/key_lines.h"

namespace tw::plan {
namespace {

using base::Code;
using base::OrderedJson;

class Reader {
 public:
  /// REQUIRES: `json` is what `written` says, an object.
  Reader(std::string_view written, const OrderedJson& json, ClaimResult& result)
      : lines_(written), json_(json), result_(result) {}

  base::Status run() {
    static constexpr std::string_view kFields[] = {"claim",  "source", "models", "units",
                                                   "inputs", "assume", "steps",  "checks"};
    TW_RETURN_IF_ERROR(knows(json_, kFields, "a claim", ""));
    TW_ASSIGN_OR_RETURN(result_.claim, text(json_, "claim"));
    TW_ASSIGN_OR_RETURN(result_.source, text(json_, "source"));
    for (const char* section : {"models", "units", "inputs", "assume"}) {
      at_ = section;
      if (json_.contains(section) && !json_[section].is_object())
        return base::error(Code::kInvalidArgument, "\"{}\" is no object", section);
    }
    for (const char* section : {"steps", "checks"}) {
      at_ = section;
      if (json_.contains(section) && !json_[section].is_array())
        return base::error(Code::kInvalidArgument, "\"{}\" is no list", section);
    }
    TW_RETURN_IF_ERROR(read_models());
    TW_RETURN_IF_ERROR(read_units());
    TW_RETURN_IF_ERROR(read_numbers("inputs", Provenance::kVendorClaim, result_.inputs));
    TW_RETURN_IF_ERROR(read_numbers("assume", Provenance::kAssumed, result_.assumptions));
    TW_RETURN_IF_ERROR(read_steps());
    TW_RETURN_IF_ERROR(read_checks());
    at_.clear();
    if (result_.inputs.empty() || result_.checks.empty())
      return base::error(Code::kInvalidArgument, "a claim has inputs and checks");
    return base::Ok{};
  }
  /// Where the error is; 0: in no one line.
  int line() const { return at_.empty() ? 0 : lines_.line(at_); }

 private:
  /// An unknown field is often a known one misspelt. `path`: of the object, with a dot behind it.
  base::Status knows(const OrderedJson& object, std::span<const std::string_view> fields, const char* what,
                     const std::string& path) {
    if (!object.is_object()) return base::Ok{};
    for (const auto& [key, value] : object.items()) {
      if (std::find(fields.begin(), fields.end(), key) != fields.end()) continue;
      at_ = path + key;
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
    auto written = it->get<std::string>();
    // It is printed: no line of its own, no commands for a terminal.
    if (std::ranges::any_of(written, [](unsigned char c) { return c < 0x20 || c == 0x7F; }))
      return base::error(Code::kInvalidArgument, "\"{}\" has a control character", key);
    return written;
  }

  /// The error says of what it is.
  template <typename T>
  static base::Result<T> told(const std::string& who, base::Result<T> result) {
    if (result.ok()) return result;
    return base::error(result.error().code, "{}: {}", who, result.error().message);
  }

  base::Status read_models() {
    if (!json_.contains("models")) return base::Ok{};
    for (const auto& [alias, name] : json_["models"].items()) {
      at_ = "models." + alias;
      if (!name.is_string()) return base::error(Code::kInvalidArgument, "models: {} is no text", alias);
      TW_ASSIGN_OR_RETURN(const PlannedModel model, find_model(name.get<std::string>()));
      models_.emplace(alias, model);
    }
    return base::Ok{};
  }

  base::Status read_units() {
    if (!json_.contains("units")) return base::Ok{};
    for (const auto& [name, unit] : json_["units"].items()) {
      at_ = "units." + name;
      const auto there = [&](const char* section) {
        return json_.contains(section) && json_[section].contains(name);
      };
      if (!there("inputs") && !there("assume"))
        return base::error(Code::kInvalidArgument, "units: neither \"inputs\" nor \"assume\" has {}", name);
      if (!unit.is_string()) return base::error(Code::kInvalidArgument, "units: {} is no text", name);
      const auto parsed = parse_claim_unit(unit.get<std::string>());
      if (!parsed.ok())
        return base::error(Code::kInvalidArgument, "units: {}: {}", name, parsed.error().message);
      units_.emplace(name, *parsed);
    }
    return base::Ok{};
  }

  /// What formulas call by this name from here on.
  base::Status learn(const std::string& name, const Quantity& q) {
    const bool plain = !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
                       std::all_of(name.begin(), name.end(),
                                   [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    if (!plain)
      return base::error(Code::kInvalidArgument, "\"{}\": a name is of letters, digits and _", name);
    if (!known_.emplace(name, q).second)
      return base::error(Code::kInvalidArgument, "there are two numbers \"{}\"", name);
    return base::Ok{};
  }

  static std::string written(const OrderedJson& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  base::Status read_numbers(const char* section, Provenance provenance, std::vector<ClaimNumber>& list) {
    if (!json_.contains(section)) return base::Ok{};
    for (const auto& [name, value] : json_[section].items()) {
      at_ = fmt::format("{}.{}", section, name);
      const auto declared = units_.find(name);
      const ClaimUnit unit = declared != units_.end() ? declared->second : unit_of_input(name, value);
      const auto number = read_claim_number(value, unit, provenance);
      if (!number.ok())
        return base::error(Code::kInvalidArgument, "{}: {}: {}", section, name, number.error().message);
      TW_RETURN_IF_ERROR(learn(name, *number));
      ClaimNumber made{name, written(value), {}, {}, *number};
      if (value.is_object()) {
        made.formula = written(value["value"]);
        if (value.contains("note")) made.note = value["note"].get<std::string>();
        if (number->low < number->high)
          made.range = fmt::format("{} to {}", written(value[value.contains("low") ? "low" : "value"]),
                                   written(value[value.contains("high") ? "high" : "value"]));
      }
      list.push_back(std::move(made));
    }
    return base::Ok{};
  }

  base::Status read_steps() {
    if (!json_.contains("steps")) return base::Ok{};
    for (const OrderedJson& step : json_["steps"]) {
      at_ = fmt::format("steps[{}]", result_.steps.size());
      if (!step.is_array() || step.size() < 3 || step.size() > 4 ||
          !std::all_of(step.begin(), step.end(), [](const auto& s) { return s.is_string(); }))
        return base::error(Code::kInvalidArgument,
                           "a step is [name, formula, unit], and a text about it where it needs one");
      ClaimNumber made{step[0].get<std::string>(), step[1].get<std::string>(), {}, {}, {}};
      if (step.size() > 3) made.note = step[3].get<std::string>();
      at_ += "[2]";
      const std::string who = "steps: " + made.name;
      TW_ASSIGN_OR_RETURN(const ClaimUnit unit, told(who, parse_claim_unit(step[2].get<std::string>())));
      at_ = fmt::format("steps[{}][1]", result_.steps.size());
      TW_ASSIGN_OR_RETURN(made.quantity, told(who, formula(made.formula, unit.name)));
      TW_RETURN_IF_ERROR(learn(made.name, made.quantity));
      result_.steps.push_back(std::move(made));
    }
    return base::Ok{};
  }

  base::Status read_checks() {
    if (!json_.contains("checks")) return base::Ok{};
    static constexpr std::string_view kFields[] = {"text", "value", "unit", "low", "high", "by", "needs"};
    for (const OrderedJson& check : json_["checks"]) {
      const std::string path = fmt::format("checks[{}]", result_.checks.size());
      TW_RETURN_IF_ERROR(knows(check, kFields, "a check", path + "."));
      at_ = path;
      ClaimCheck c;
      TW_ASSIGN_OR_RETURN(c.text, text(check, "text"));
      TW_ASSIGN_OR_RETURN(c.by, text(check, "by"));
      TW_ASSIGN_OR_RETURN(c.needs, text(check, "needs", false));
      TW_ASSIGN_OR_RETURN(const std::string value, text(check, "value"));
      TW_ASSIGN_OR_RETURN(const std::string low, text(check, "low"));
      TW_ASSIGN_OR_RETURN(const std::string high, text(check, "high"));
      TW_ASSIGN_OR_RETURN(const std::string unit, text(check, "unit", false));
      const std::string who = fmt::format("checks: {}: ", c.text);
      at_ = path + ".unit";
      TW_ASSIGN_OR_RETURN(const ClaimUnit said,
                          told(who + "unit", parse_claim_unit(unit.empty() ? unit_of(value) : unit)));
      at_ = path + ".value";
      TW_ASSIGN_OR_RETURN(c.quantity, told(who + "value", formula(value, said.name)));
      at_ = path + ".low";
      TW_ASSIGN_OR_RETURN(const Quantity from, told(who + "low", formula(low, said.name)));
      at_ = path + ".high";
      TW_ASSIGN_OR_RETURN(const Quantity to, told(who + "high", formula(high, said.name)));
      c.wanted_low = from.value;
      c.wanted_high = to.value;
      if (c.wanted_low > c.wanted_high)
        return base::error(Code::kInvalidArgument, "{}low {:g} is above high {:g}", who, c.wanted_low,
                           c.wanted_high);
      judge(c);
      result_.checks.push_back(std::move(c));
    }
    return base::Ok{};
  }

  /// A number's own, where a formula is its name alone.
  std::string unit_of(const std::string& formula) const {
    const auto it = known_.find(formula);
    return it == known_.end() ? "1" : it->second.unit;
  }

  void judge(ClaimCheck& c) {
    const Quantity& q = c.quantity;
    const bool inside = q.value >= c.wanted_low && q.value <= c.wanted_high;
    if (inside)
      c.fit = q.low >= c.wanted_low && q.high <= c.wanted_high ? Fit::kWholly : Fit::kByValue;
    else
      c.fit = q.high >= c.wanted_low && q.low <= c.wanted_high ? Fit::kByRange : Fit::kNot;
    c.verdict = c.fit == Fit::kNot ? Verdict::kContradicted
                : c.needs.empty()  ? Verdict::kConsistent
                                   : Verdict::kNeedsAssumption;
    const std::string range = c.fit == Fit::kByRange
                                  ? fmt::format("only within the range of {}, not by its value", c.text)
                                  : std::string();
    if (c.verdict > result_.verdict || (c.verdict == result_.verdict && result_.reason.empty())) {
      result_.verdict = c.verdict;
      result_.reason = c.fit == Fit::kNot ? c.by : c.needs;
      if (!range.empty()) result_.reason += (result_.reason.empty() ? "" : "; ") + range;
    }
  }

  base::Result<Quantity> formula(const std::string& written, const std::string& unit) {
    // A number alone in another unit is not that many of it.
    if (const auto it = known_.find(written); it != known_.end() && differ_by_a_factor(it->second.unit, unit))
      return base::error(Code::kInvalidArgument, "{} is in {}: \"{}\" alone is no number of {}", written,
                         it->second.unit, written, unit);
    TW_ASSIGN_OR_RETURN(const Ranged r,
                        evaluate(written, [this](const std::string& name, std::span<const Ranged> arguments) {
                          return value(name, arguments);
                        }));
    // A formula of numbers alone is its author's word.
    return Quantity{r.value, r.low, r.high, unit, r.provenance.value_or(Provenance::kAssumed)};
  }

  static Ranged ranged(const Quantity& q) { return {q.value, q.low, q.high, q.provenance}; }

  base::Result<Ranged> value(const std::string& name, std::span<const Ranged> arguments) {
    if (name == "goodput" && arguments.size() == 4) return goodput_of(arguments);
    if (name == "fat_tree" && arguments.size() == 3) return fat_tree_of(arguments);
    if (!arguments.empty())
      return base::error(Code::kNotFound, "there is no function \"{}\" of {}", name, arguments.size());
    if (const auto it = known_.find(name); it != known_.end()) return ranged(it->second);
    const std::size_t dot = name.find('.');
    if (dot == std::string::npos) return base::error(Code::kNotFound, "there is no \"{}\"", name);
    const std::string thing = name.substr(0, dot), field = name.substr(dot + 1);
    if (const auto it = models_.find(thing); it != models_.end()) return of_model(it->second, field);
    TW_ASSIGN_OR_RETURN(const Accelerator* accelerator, Catalogue::shipped().find(spaced(thing)));
    for (int i = 0; i < kFields; ++i) {
      if (field != field_info(static_cast<Field>(i)).column) continue;
      return of_catalogue(*accelerator, static_cast<Field>(i));
    }
    return base::error(Code::kNotFound, "the catalogue has no column \"{}\"", field);
  }

  /// A blank is advised on as a claim's file can heed it, not by the flags of a plan.
  static base::Result<Ranged> of_catalogue(const Accelerator& accelerator, Field field) {
    const FieldInfo& info = field_info(field);
    if (!accelerator[field])
      return base::error(Code::kNotFound,
                         "the catalogue has no {} ({}, {}) for {}: state it in \"assume\", or choose another "
                         "accelerator",
                         info.title, info.column, info.unit, accelerator.name);
    TW_ASSIGN_OR_RETURN(const Quantity q, accelerator.get(field));
    return ranged(q);
  }

  static std::optional<Provenance> least_sure(std::span<const Ranged> arguments) {
    std::optional<Provenance> least;
    for (const Ranged& a : arguments) {
      if (a.provenance) least = least ? weaker(*least, *a.provenance) : *a.provenance;
    }
    return least;
  }

  /// Less of everything that is lost trains more.
  static base::Result<Ranged> goodput_of(std::span<const Ranged> a) {
    if (!(a[0].low > 0) || std::ranges::any_of(a, [](const Ranged& r) { return !(r.low >= 0); }))
      return base::error(
          Code::kInvalidArgument,
          "goodput takes nodes (above 0), failures of 1,000 node-days, and seconds of a checkpoint "
          "and of a restart, none below 0");
    TW_ASSIGN_OR_RETURN(const Goodput g, goodput(a[0].value, a[1].value, a[2].value, a[3].value));
    TW_ASSIGN_OR_RETURN(const Goodput best, goodput(a[0].low, a[1].low, a[2].low, a[3].low));
    const auto worst = goodput(a[0].high, a[1].high, a[2].high, a[3].high);
    return Ranged{g.share, worst.ok() ? worst->share : 0, best.share, least_sure(a)};
  }

  static base::Result<Ranged> fat_tree_of(std::span<const Ranged> a) {
    int low[3], whole[3], high[3];
    for (int i = 0; i < 3; ++i) {
      for (const auto& [ports, number] :
           {std::pair(low, a[i].low), std::pair(whole, a[i].value), std::pair(high, a[i].high)}) {
        if (number != std::floor(number) || number < 1 || number > 1e6)
          return base::error(Code::kInvalidArgument, "fat_tree wants whole numbers: tiers, ports, ports");
        ports[i] = static_cast<int>(number);
      }
    }
    Ranged reach;
    TW_ASSIGN_OR_RETURN(reach.low, fat_tree_reach(low[0], low[1], low[2]));
    TW_ASSIGN_OR_RETURN(reach.value, fat_tree_reach(whole[0], whole[1], whole[2]));
    TW_ASSIGN_OR_RETURN(reach.high, fat_tree_reach(high[0], high[1], high[2]));
    reach.provenance = least_sure(a);
    return reach;
  }

  static std::string spaced(std::string name) {
    std::replace(name.begin(), name.end(), '_', ' ');
    return name;
  }

  /// Exact of a shape; a shape that was not published is assumed.
  static base::Result<Ranged> of_model(const PlannedModel& planned, const std::string& field) {
    const spec::ModelConfig& model = planned.config;
    Ranged made;
    if (field == "parameters") {
      made = Ranged::point(static_cast<double>(model.parameter_count()));
    } else if (field == "active") {
      made = Ranged::point(static_cast<double>(model.active_parameter_count()));
    } else if (field == "flops_per_token") {
      const std::int64_t tokens = std::min<std::int64_t>(model.context, 4096);
      TW_ASSIGN_OR_RETURN(const double flops, model_flops(model, {tokens, 1, Precision::kBf16}));
      made = Ranged::point(flops / static_cast<double>(tokens));
    } else {
      return base::error(Code::kNotFound, "a model has no \"{}\"", field);
    }
    made.provenance = planned.provenance;
    return made;
  }

  spec::KeyLines lines_;
  std::string at_;  ///< path of what is read
  const OrderedJson& json_;
  ClaimResult& result_;
  std::map<std::string, Quantity> known_;
  std::map<std::string, ClaimUnit> units_;
  std::map<std::string, PlannedModel> models_;
};

/// Four digits, and all of what people count.
std::string number(double value) {
  const double size = std::fabs(value);
  return size >= 9999.5 && size < 1e7 ? fmt::format("{:.0f}", value) : fmt::format("{:.4g}", value);
}

/// " (0.9 to 1.1)"; nothing of a point.
std::string range(const Quantity& q) {
  return q.low == q.high ? std::string() : fmt::format(" ({} to {})", number(q.low), number(q.high));
}

std::string unit(const Quantity& q) {
  return q.unit == "1" ? std::string() : " " + q.unit;
}

/// As it was written, with its unit where that is left out, and where it comes from.
std::string given_text(const char* what, const ClaimNumber& n, Provenance usual) {
  const bool says_unit = n.quantity.unit == "1" || n.formula.find_first_of(" %/") != std::string::npos ||
                         n.formula.ends_with(n.quantity.unit);
  return fmt::format(
      "  {:<7} {} = {}{}{}{}{}\n", what, n.name, n.formula, says_unit ? "" : unit(n.quantity),
      n.range.empty() ? "" : " (" + n.range + ")",
      n.quantity.provenance == usual ? "" : fmt::format(", {}", provenance_name(n.quantity.provenance)),
      n.note.empty() ? "" : "; " + n.note);
}

std::string_view fit_text(Fit fit) {
  static constexpr std::string_view kTexts[] = {"is within {} to {}", "is within {} to {}, its range is not",
                                                "is outside {} to {}, its range is not wholly",
                                                "is outside {} to {}"};
  return kTexts[static_cast<int>(fit)];
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  static constexpr std::string_view kNames[] = {"consistent", "needs an assumption", "contradicted"};
  return kNames[static_cast<int>(verdict)];
}

std::string_view fit_name(Fit fit) {
  static constexpr std::string_view kNames[] = {"wholly", "by its value", "by its range", "no"};
  return kNames[static_cast<int>(fit)];
}

base::Result<ClaimResult> check_claim(const std::string& file, std::string_view text) {
  ClaimResult result;
  result.file = file;
  // Zero bytes, broken JSON and fields that are there twice are told as of a job's file.
  TW_RETURN_IF_ERROR(spec::parse_field_file(text, file));
  TW_ASSIGN_OR_RETURN(const OrderedJson json, base::parse_ordered_json(text, 8));
  Reader reader(text, json, result);
  if (auto status = reader.run(); !status.ok())
    return base::Error{status.error().code, status.error().message,
                       reader.line() > 0 ? fmt::format("{}:{}", file, reader.line()) : file};
  return result;
}

std::string claim_text(const ClaimResult& c) {
  const std::string reason = c.verdict == Verdict::kContradicted ? " by " + c.reason
                             : c.reason.empty()                  ? ""
                                                                 : " (" + c.reason + ")";
  std::string text = fmt::format("{}: {}{}\n  claim: {}\n  source: {}\n", c.file, verdict_name(c.verdict),
                                 reason, c.claim, c.source);
  for (const ClaimNumber& n : c.inputs) text += given_text("input", n, Provenance::kVendorClaim);
  for (const ClaimNumber& n : c.assumptions) text += given_text("assume", n, Provenance::kAssumed);
  for (const ClaimNumber& n : c.steps)
    text += fmt::format("  step    {} = {} = {}{}{}, {}{}\n", n.name, n.formula, number(n.quantity.value),
                        unit(n.quantity), range(n.quantity), provenance_name(n.quantity.provenance),
                        n.note.empty() ? "" : "; " + n.note);
  for (const ClaimCheck& k : c.checks)
    text +=
        fmt::format("  check   {}: {}{}{}, {}, {}\n", k.text, number(k.quantity.value), unit(k.quantity),
                    range(k.quantity), provenance_name(k.quantity.provenance),
                    fmt::format(fmt::runtime(fit_text(k.fit)), number(k.wanted_low), number(k.wanted_high)));
  return text;
}

base::OrderedJson claim_json(const ClaimResult& c) {
  OrderedJson j = {{"file", c.file},
                   {"claim", c.claim},
                   {"source", c.source},
                   {"verdict", verdict_name(c.verdict)},
                   {"reason", c.reason}};
  for (const auto* list : {&c.inputs, &c.assumptions, &c.steps}) {
    for (const ClaimNumber& n : *list) {
      j["numbers"][n.name] = {{"formula", n.formula}};
      j["numbers"][n.name].update(to_json(n.quantity));
      if (!n.note.empty()) j["numbers"][n.name]["note"] = n.note;
    }
  }
  for (const ClaimCheck& k : c.checks) {
    OrderedJson check = {{"text", k.text}};
    check.update(to_json(k.quantity));
    check.update(OrderedJson{{"wanted_low", k.wanted_low},
                             {"wanted_high", k.wanted_high},
                             {"within", fit_name(k.fit)},
                             {"needs", k.needs},
                             {"by", k.by},
                             {"verdict", verdict_name(k.verdict)}});
    j["checks"].push_back(std::move(check));
  }
  return j;
}

}  // namespace tw::plan
