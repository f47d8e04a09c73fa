#include "spec/network_spec.h"

#include "spec/range.h"

namespace tw::spec {

base::Status NetworkSpec::validate() const {
  if (topology != "fat-tree" && topology != "rail" && topology != "torus" && topology != "dragonfly")
    return base::error(base::Code::kInvalidArgument,
                       "topology is \"{}\", but must be fat-tree, rail, torus or dragonfly", topology);
  if (endpoint_cable != "optical" && endpoint_cable != "copper")
    return base::error(base::Code::kInvalidArgument,
                       "endpoint-cable is \"{}\", but must be optical or copper", endpoint_cable);
  if (topology != "torus" && nodes == 0)
    return given_in_range("nodes", 0, 1 << 20, "of the network", "network");
  TW_RETURN_IF_ERROR(in_range("nodes", static_cast<double>(nodes), 0, 1 << 20));
  TW_RETURN_IF_ERROR(in_range("nics", nics, 1, 1024));
  TW_RETURN_IF_ERROR(in_range("nodes x nics", static_cast<double>(endpoints()), 0, 1 << 20));
  TW_RETURN_IF_ERROR(in_range("planes", planes, 1, 64));
  TW_RETURN_IF_ERROR(in_range("tiers", tiers, 0, 3));
  TW_RETURN_IF_ERROR(in_range("radix", radix, 0, 1 << 14));
  TW_RETURN_IF_ERROR(in_range("spine-radix", spine_radix, 0, 1 << 14));
  TW_RETURN_IF_ERROR(in_range("oversubscription", oversubscription, 1, 100));
  TW_RETURN_IF_ERROR(in_range("leaf-down", leaf_down, 0, 1 << 14));
  TW_RETURN_IF_ERROR(in_range("leaf-up", leaf_up, 0, 1 << 14));
  TW_RETURN_IF_ERROR(in_range("cube", cube, 0, 64));
  TW_RETURN_IF_ERROR(in_range("optical-ports", optical_ports, 2, 1 << 14));
  for (const auto& [name, speed] :
       {std::pair("nic", &nic), std::pair("port-speed", &port_speed), std::pair("spine-speed", &spine_speed),
        std::pair("link-speed", &link_speed)}) {
    if (speed->given) TW_RETURN_IF_ERROR(in_range(name, speed->value, 1e6, 1e14));
  }
  for (const auto& [name, watts] :
       {std::pair("switch-power, in watts,", &switch_power),
        std::pair("spine-power, in watts,", &spine_power), std::pair("optic-power, in watts,", &optic_power),
        std::pair("nic-power, in watts,", &nic_power)})
    TW_RETURN_IF_ERROR(in_range(name, watts->value, 0, 1e9));
  for (const auto& [name, price] :
       {std::pair("switch-price, in USD,", &switch_price), std::pair("spine-price, in USD,", &spine_price),
        std::pair("optic-price, in USD,", &optic_price), std::pair("cable-price, in USD,", &cable_price),
        std::pair("nic-price, in USD,", &nic_price)})
    TW_RETURN_IF_ERROR(in_range(name, price->value, 0, 1e9));
  return check_used();
}

/// What a topology does not have, nobody may ask of it.
base::Status NetworkSpec::check_used() const {
  const bool torus_network = topology == "torus", tree = topology == "fat-tree" || topology == "rail";
  const std::pair<const char*, bool> of_trees[] = {{"tiers", tiers != 0},
                                                   {"spine-switch", !spine_name.empty()},
                                                   {"spine-radix", spine_radix != 0},
                                                   {"spine-speed", spine_speed.given},
                                                   {"link-speed", link_speed.given},
                                                   {"oversubscription", oversubscription != 1},
                                                   {"leaf-down", leaf_down != 0},
                                                   {"leaf-up", leaf_up != 0}};
  const std::pair<const char*, bool> of_switches[] = {{"radix", radix != 0},
                                                      {"port-speed", port_speed.given}};
  const std::pair<const char*, bool> of_tori[] = {
      {"torus", torus != "3d"}, {"cube", cube != 0}, {"optical-ports", optical_ports != 128}};
  const auto none = [&](const auto& fields, bool allowed) -> base::Status {
    for (const auto& [name, given] : fields) {
      if (given && !allowed)
        return base::error(base::Code::kInvalidArgument, "a {} network has no {}: leave it out", topology,
                           name);
    }
    return base::Ok{};
  };
  TW_RETURN_IF_ERROR(none(of_trees, tree));
  TW_RETURN_IF_ERROR(none(of_switches, !torus_network));
  return none(of_tori, torus_network);
}

}  // namespace tw::spec
