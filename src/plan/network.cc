#include "plan/network.h"

#include <cmath>
#include <utility>

#include "plan/network_parts.h"

namespace tw::plan {
namespace {

using base::Code;

/// Where a number came from that is not the user's.
struct Known {
  std::optional<Quantity> value;
  std::string missing;
};

Known given_or(double value, bool given, const char* unit, const std::optional<Quantity>& otherwise,
               std::string missing) {
  if (given) return {Quantity::around(value, 0, unit, Provenance::kAssumed), {}};
  return {otherwise, std::move(missing)};
}

/// What the parts of a network are worth, by tier and cable.
class Sums {
 public:
  explicit Sums(std::string unit) : total_{0, 0, 0, std::move(unit), Provenance::kDatasheet} {}

  void add(std::int64_t count, const Known& each) {
    if (count == 0) return;
    if (!each.value) {
      if (missing_.empty()) missing_ = each.missing;
      return;
    }
    const Quantity many = Quantity::around(static_cast<double>(count), 0, "", Provenance::kMeasured);
    total_ = plus(total_, times(many, *each.value, total_.unit));
  }
  Figure figure(const char* key, const char* title, const char* how) const {
    if (missing_.empty()) return {key, title, total_, {}, how};
    return {key, title, std::nullopt, missing_, {}};
  }
  const Quantity& total() const { return total_; }
  bool known() const { return missing_.empty(); }

 private:
  Quantity total_;
  std::string missing_;
};

std::int64_t transceivers(const NetworkPlan& p) {
  std::int64_t sum = 0;
  for (const CableRun& run : p.cables) sum += run.count * run.transceivers;
  return sum;
}

/// The leaves' numbers hold above them when the switches are the same.
bool same_switch(const spec::NetworkSpec& s) {
  return s.spine_radix == s.radix && s.spine_speed.value == s.port_speed.value &&
         s.spine_name == s.switch_name;
}

std::optional<Quantity> part_number(const std::string& name, std::optional<double> NetworkPart::* field,
                                    const char* unit) {
  if (name.empty()) return {};
  const auto part = find_switch(name);
  if (!part.ok() || !((*part)->*field)) return {};
  return Quantity::around(*((*part)->*field), 0.1, unit, (*part)->provenance);
}

Known watts_of(const spec::NetworkSpec& s, const SwitchTier& tier) {
  const bool leaf = tier.name != "spine" && tier.name != "core";
  if (leaf || (same_switch(s) && !s.spine_power.given))
    return given_or(s.switch_power.value, s.switch_power.given, "W",
                    part_number(s.switch_name, &NetworkPart::watts, "W"),
                    fmt::format("the power of one {} is not known: give --switch-power \"1 kW\"", tier.name));
  return given_or(s.spine_power.value, s.spine_power.given, "W",
                  part_number(s.spine_name, &NetworkPart::watts, "W"),
                  fmt::format("the power of one {} is not known: give --spine-power \"1 kW\"", tier.name));
}

Known price_of(const spec::NetworkSpec& s, const SwitchTier& tier) {
  const bool leaf = tier.name != "spine" && tier.name != "core";
  if (leaf || (same_switch(s) && !s.spine_price.given))
    return given_or(
        s.switch_price.value, s.switch_price.given, "USD",
        part_number(s.switch_name, &NetworkPart::price, "USD"),
        fmt::format("the price of one {} is not known: give --switch-price \"30000 USD\"", tier.name));
  return given_or(
      s.spine_price.value, s.spine_price.given, "USD", part_number(s.spine_name, &NetworkPart::price, "USD"),
      fmt::format("the price of one {} is not known: give --spine-price \"30000 USD\"", tier.name));
}

Known optic_watts(const spec::NetworkSpec& s, double rate) {
  std::optional<Quantity> typical;
  if (const NetworkPart* part = find_optic(rate); part != nullptr && part->watts)
    typical = Quantity{*part->watts, 0.8 * *part->watts, *part->watts, "W", part->provenance};
  return given_or(s.optic_power.value, s.optic_power.given, "W", typical,
                  fmt::format("the power of a transceiver of {} is not known: give --optic-power \"9 W\"",
                              line_rate_text(rate)));
}

void add_power(NetworkPlan& p) {
  const spec::NetworkSpec& s = p.spec;
  Sums switches("W"), optics("W"), all("W");
  for (const SwitchTier& tier : p.tiers) {
    const Known each = watts_of(s, tier);
    switches.add(tier.switches, each), all.add(tier.switches, each);
  }
  for (const CableRun& run : p.cables) {
    const Known each = optic_watts(s, run.rate);
    optics.add(run.count * run.transceivers, each), all.add(run.count * run.transceivers, each);
  }
  if (s.nic_power.given) all.add(p.endpoints, given_or(s.nic_power.value, true, "W", {}, {}));
  p.figures.push_back(switches.figure("switch_watts", "power of switches", "switches x power"));
  p.figures.push_back(optics.figure("optic_watts", "power of optics", "transceivers x power"));
  p.figures.push_back(
      all.figure("watts", "power", s.nic_power.given ? "switches + optics + NICs" : "switches + optics"));
  if (all.known()) {
    const Quantity ends = Quantity::around(static_cast<double>(p.endpoints), 0, "", Provenance::kMeasured);
    p.figures.push_back({"watts_per_endpoint",
                         "power of an endpoint's share",
                         over(all.total(), ends, "W"),
                         {},
                         "power / endpoints; `plan estimate --network-power` takes it"});
  }
}

void add_money(NetworkPlan& p) {
  const spec::NetworkSpec& s = p.spec;
  Sums all("USD");
  for (const SwitchTier& tier : p.tiers) all.add(tier.switches, price_of(s, tier));
  std::int64_t cables = 0;
  for (const CableRun& run : p.cables) cables += run.count;
  all.add(transceivers(p),
          given_or(s.optic_price.value, s.optic_price.given, "USD", {},
                   "the price of a transceiver is not known: give --optic-price \"1000 USD\""));
  all.add(cables, given_or(s.cable_price.value, s.cable_price.given, "USD", {},
                           "the price of a cable is not known: give --cable-price \"100 USD\""));
  if (s.nic_price.given) all.add(p.endpoints, given_or(s.nic_price.value, true, "USD", {}, {}));
  p.figures.push_back(
      all.figure("usd", "price",
                 s.nic_price.given ? "switches + optics + cables + NICs" : "switches + optics + cables"));
}

void add_figures(NetworkPlan& p) {
  const auto count = [&](const char* key, const char* title, double value, const char* unit,
                         const char* how) {
    p.figures.push_back({key, title, Quantity::around(value, 0, unit, Provenance::kExtrapolated), {}, how});
  };
  count("endpoints", "endpoints", static_cast<double>(p.endpoints), "endpoints", "nodes x NICs");
  count("switches", "switches", static_cast<double>(p.switches()), "switches", "sum of the tiers");
  std::int64_t cables = 0;
  for (const CableRun& run : p.cables) cables += run.count;
  count("cables", "cables", static_cast<double>(cables), "cables", "sum of the runs");
  count("transceivers", "transceivers", static_cast<double>(transceivers(p)), "transceivers",
        "ends of optical cables");
  count("bisection_terabytes_per_second", "bisection bandwidth", p.bisection / 1e12, "TB/s",
        "each way between two halves");
  count("hops", "longest way", p.hops, "cables", "on the shortest way between two endpoints");
  add_power(p);
  add_money(p);
}

/// Takes numbers of named switches and of what is alike.
base::Status resolve(spec::NetworkSpec& s) {
  const bool torus = s.topology == "torus";
  if (!s.switch_name.empty()) {
    TW_ASSIGN_OR_RETURN(const NetworkPart* part, find_switch(s.switch_name));
    if (s.radix == 0) s.radix = part->ports;
    if (!s.port_speed.given) s.port_speed = {part->rate, true};
  }
  if (!s.nic.given)
    return base::error(Code::kInvalidArgument, "the speed of {} is not known: give --nic \"400 Gb/s\"",
                       torus ? "a link" : "a NIC");
  if (torus) return base::Ok{};
  if (s.radix == 0)
    return base::error(Code::kInvalidArgument,
                       "the switch is not known: give --radix 64, or --switch SN5600");
  if (!s.port_speed.given) s.port_speed = {s.nic.value, true};
  if (!s.spine_name.empty()) {
    TW_ASSIGN_OR_RETURN(const NetworkPart* part, find_switch(s.spine_name));
    if (s.spine_radix == 0) s.spine_radix = part->ports;
    if (!s.spine_speed.given) s.spine_speed = {part->rate, true};
  } else if (s.spine_radix == 0 && !s.spine_speed.given) {
    s.spine_name = s.switch_name;
  }
  if (s.spine_radix == 0) s.spine_radix = s.radix;
  if (!s.spine_speed.given) s.spine_speed = s.port_speed;
  return base::Ok{};
}

/// Of a port's speed: the switch's sheet, unless it was given.
Provenance port_provenance(const std::string& name, bool given, Provenance otherwise) {
  if (given) return Provenance::kAssumed;
  const auto part = find_switch(name);
  return !name.empty() && part.ok() ? (*part)->provenance : otherwise;
}

}  // namespace

std::string line_rate_text(double rate) {
  return fmt::format("{:g} Gb/s", std::round(rate / 1.25e8 * 1e4) / 1e4);
}

base::Result<NetworkPlan> size_network(const spec::NetworkSpec& wanted) {
  spec::NetworkSpec s = wanted;
  TW_RETURN_IF_ERROR(s.validate());
  TW_RETURN_IF_ERROR(resolve(s));
  TW_ASSIGN_OR_RETURN(NetworkPlan p, s.topology == "torus"       ? size_torus(s)
                                     : s.topology == "dragonfly" ? size_dragonfly(s)
                                                                 : size_fat_tree(s));
  p.leaf_speed = port_provenance(wanted.switch_name, wanted.port_speed.given, Provenance::kAssumed);
  p.spine_speed = port_provenance(wanted.spine_name, wanted.spine_speed.given, p.leaf_speed);
  const bool asked = wanted.link_speed.given || p.leaf_speed == Provenance::kAssumed;
  p.between_speed = asked ? Provenance::kAssumed : p.spine_speed;
  add_figures(p);
  return p;
}

}  // namespace tw::plan
