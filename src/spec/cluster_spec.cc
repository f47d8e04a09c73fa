#include "spec/cluster_spec.h"

#include "spec/range.h"

namespace tw::spec {

base::Status ClusterSpec::validate() const {
  if (accelerator.empty())
    return base::error(base::Code::kInvalidArgument,
                       "the cluster has no accelerator: name one of `tokenworks plan catalog`");
  TW_RETURN_IF_ERROR(in_range("accelerators", static_cast<double>(accelerators), 1, 1 << 22));
  TW_RETURN_IF_ERROR(in_range("per-node", per_node, 0, 1 << 16));
  TW_RETURN_IF_ERROR(in_range("scale-up", scale_up, 0, 1 << 22));
  if (network != "fat-tree" && network != "torus" && network != "dragonfly")
    return base::error(base::Code::kInvalidArgument,
                       "network is \"{}\", but must be fat-tree, torus or dragonfly", network);
  if (network == "torus" && torus.empty())
    return base::error(base::Code::kInvalidArgument, "a torus needs the sizes of a slice: --torus 8x8x16");
  if (network != "torus" && !torus.empty())
    return base::error(base::Code::kInvalidArgument, "torus {} is given, but network is {}: --network torus?",
                       torus, network);
  if (torus_link.given) TW_RETURN_IF_ERROR(in_range("torus-link, in bytes/s,", torus_link.value, 1, 1e15));
  TW_RETURN_IF_ERROR(in_range("group", static_cast<double>(group), 0, 1 << 22));
  TW_RETURN_IF_ERROR(in_range("oversubscription", oversubscription, 1, 1000));
  TW_RETURN_IF_ERROR(in_range("pue", pue, 1, 10));
  TW_RETURN_IF_ERROR(in_range("failures", failures, 0, 1e5));
  TW_RETURN_IF_ERROR(in_range("checkpoint, in seconds,", checkpoint.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("restart, in seconds,", restart.value, 0, 1e7));
  TW_RETURN_IF_ERROR(in_range("lifetime, in seconds,", lifetime.value, 86400, 1e10));
  if (memory.given) TW_RETURN_IF_ERROR(in_range("memory, in bytes,", memory.value, 1, 1e15));
  if (nic.given) TW_RETURN_IF_ERROR(in_range("nic, in bytes/s,", nic.value, 1, 1e15));
  if (power.given) TW_RETURN_IF_ERROR(in_range("power, in watts,", power.value, 1, 1e6));
  TW_RETURN_IF_ERROR(in_range("host-power, in watts,", host_power.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("network-power, in watts,", network_power.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("price, in USD,", price.value, 0, 1e9));
  TW_RETURN_IF_ERROR(in_range("rent, in USD/h,", rent.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("electricity, in USD/kWh,", electricity.value, 0, 1e3));
  TW_RETURN_IF_ERROR(in_range("carbon, in g/kWh,", carbon.value, 0, 1e6));
  return base::Ok{};
}

}  // namespace tw::spec
