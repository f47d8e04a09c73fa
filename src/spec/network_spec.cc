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
  TW_RETURN_IF_ERROR(in_range("nodes", static_cast<double>(nodes), topology == "torus" ? 0 : 1, 1 << 20));
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
  return base::Ok{};
}

}  // namespace tw::spec
