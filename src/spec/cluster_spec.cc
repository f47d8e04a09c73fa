#include "spec/cluster_spec.h"

#include <cmath>
#include <utility>

#include "spec/range.h"

namespace tw::spec {
namespace {

base::Status check_second(const ClusterSpec& c) {
  const SecondKind& s = c.second;
  if (!c.mixed()) {
    const char* stray = s.accelerators != 0          ? "second-accelerators"
                        : s.scale_up >= 0            ? "second-scale-up"
                        : s.memory.given             ? "second-memory"
                        : s.nic.given                ? "second-nic"
                        : s.power.given              ? "second-power"
                        : s.peak.given               ? "second-peak"
                        : s.fp8_peak.given           ? "second-fp8-peak"
                        : s.fp4_peak.given           ? "second-fp4-peak"
                        : s.memory_bandwidth.given   ? "second-memory-bandwidth"
                        : s.scale_up_bandwidth.given ? "second-scale-up-bandwidth"
                        : s.price.given              ? "second-price"
                        : s.rent.given               ? "second-rent"
                                                     : nullptr;
    if (stray == nullptr) return base::Ok{};
    return base::error(base::Code::kInvalidArgument,
                       "{} is given, but no second kind: name it with --second-accelerator", stray);
  }
  TW_RETURN_IF_ERROR(given_in_range("second-accelerators", static_cast<double>(s.accelerators), 1 << 22,
                                    "how many there are of the second kind", "cluster"));
  if (c.network == "torus")
    return base::error(base::Code::kInvalidArgument,
                       "a torus has one kind of accelerator: network fat-tree or dragonfly would do for two");
  return c.second_alone().validate();
}

/// Of `size` accelerators each, if that is given: they are whole ones, or a part of one.
base::Status check_part(const ClusterSpec& c, const char* name, const char* what, int size, int most) {
  if (size == -1) return base::Ok{};
  TW_RETURN_IF_ERROR(in_range(name, size, 1, most));
  if (size >= c.accelerators || c.accelerators % size == 0) return base::Ok{};
  int below = size, above = size;
  while (c.accelerators % below != 0) --below;
  while (c.accelerators % above != 0) ++above;
  return base::error(base::Code::kInvalidArgument,
                     "{} {} does not divide {} accelerators into {}: {} or {} would", name, size,
                     c.accelerators, what, below, above);
}

base::Status check_spares(const ClusterSpec& c) {
  if (c.repair.given && !c.spares.given)
    return base::error(
        base::Code::kInvalidArgument,
        "repair has no effect without spares: say how many nodes are kept ready, --spares 0 or more");
  if (!c.spares.given) return base::Ok{};
  TW_RETURN_IF_ERROR(in_range("spares", c.spares.value, 0, 1 << 20));
  if (c.spares.value != std::floor(c.spares.value))
    return base::error(base::Code::kInvalidArgument, "spares is {}, but must be a whole number of nodes",
                       c.spares.value);
  TW_RETURN_IF_ERROR(in_range("repair, in seconds,", c.repair.value, 1, 1e8));
  if (c.mixed())
    return base::error(base::Code::kInvalidArgument,
                       "spares are planned of one kind of accelerator: leave them away, or the second kind");
  return base::Ok{};
}

}  // namespace

ClusterSpec ClusterSpec::first_alone() const {
  ClusterSpec c = *this;
  c.second = {};
  return c;
}

ClusterSpec ClusterSpec::second_alone() const {
  ClusterSpec c = first_alone();
  c.accelerator = second.accelerator, c.accelerators = second.accelerators, c.scale_up = second.scale_up;
  c.peak = second.peak, c.fp8_peak = second.fp8_peak, c.fp4_peak = second.fp4_peak;
  c.memory_bandwidth = second.memory_bandwidth, c.scale_up_bandwidth = second.scale_up_bandwidth;
  c.memory = second.memory, c.nic = second.nic, c.power = second.power, c.price = second.price;
  c.rent = second.rent;
  return c;
}

base::Status ClusterSpec::validate() const {
  if (accelerator.empty())
    return base::error(
        base::Code::kInvalidArgument,
        "the cluster has no accelerator: give --accelerator H100, or \"accelerator\" in the cluster's "
        "file, with a name of `tokenworks plan catalog`");
  TW_RETURN_IF_ERROR(given_in_range("accelerators", static_cast<double>(accelerators), 1 << 22,
                                    "how many there are", "cluster"));
  TW_RETURN_IF_ERROR(check_part(*this, "per-node", "nodes", per_node, 1 << 16));
  TW_RETURN_IF_ERROR(check_part(*this, "scale-up", "scale-up domains", scale_up, 1 << 22));
  if (network != "fat-tree" && network != "torus" && network != "dragonfly")
    return base::error(base::Code::kInvalidArgument,
                       "network is \"{}\", but must be fat-tree, torus or dragonfly", network);
  if (network == "torus" && torus.empty())
    return base::error(base::Code::kInvalidArgument, "a torus needs the sizes of a slice: --torus 8x8x16");
  if (network != "torus" && !torus.empty())
    return base::error(base::Code::kInvalidArgument, "torus {} is given, but network is {}: --network torus?",
                       torus, network);
  if (network == "dragonfly" && group == 0)
    return base::error(
        base::Code::kInvalidArgument,
        "a dragonfly needs the accelerators of one of its groups: give --group 256, or \"group\" in "
        "the cluster's file");
  if (torus_link.given) TW_RETURN_IF_ERROR(in_range("torus-link, in bytes/s,", torus_link.value, 1, 1e15));
  TW_RETURN_IF_ERROR(in_range("group", static_cast<double>(group), 0, 1 << 22));
  TW_RETURN_IF_ERROR(in_range("oversubscription", oversubscription, 1, 1000));
  TW_RETURN_IF_ERROR(in_range("pue", pue, 1, 10));
  TW_RETURN_IF_ERROR(in_range("failures", failures, 0, 1e5));
  TW_RETURN_IF_ERROR(in_range("checkpoint, in seconds,", checkpoint.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("restart, in seconds,", restart.value, 0, 1e7));
  TW_RETURN_IF_ERROR(check_spares(*this));
  TW_RETURN_IF_ERROR(in_range("lifetime, in seconds,", lifetime.value, 86400, 1e10));
  if (memory.given) TW_RETURN_IF_ERROR(in_range("memory, in bytes,", memory.value, 1, 1e15));
  if (nic.given) TW_RETURN_IF_ERROR(in_range("nic, in bytes/s,", nic.value, 1, 1e15));
  if (power.given) TW_RETURN_IF_ERROR(in_range("power, in watts,", power.value, 1, 1e6));
  for (const auto& [name, flops] :
       {std::pair("peak, in FLOP/s,", &peak), std::pair("fp8-peak, in FLOP/s,", &fp8_peak),
        std::pair("fp4-peak, in FLOP/s,", &fp4_peak)}) {
    if (flops->given) TW_RETURN_IF_ERROR(in_range(name, flops->value, 1e9, 1e18));
  }
  if (memory_bandwidth.given)
    TW_RETURN_IF_ERROR(in_range("memory-bandwidth, in bytes/s,", memory_bandwidth.value, 1e9, 1e17));
  if (scale_up_bandwidth.given)
    TW_RETURN_IF_ERROR(in_range("scale-up-bandwidth, in bytes/s,", scale_up_bandwidth.value, 1e6, 1e15));
  if (host_memory.given) TW_RETURN_IF_ERROR(in_range("host-memory, in bytes,", host_memory.value, 1, 1e15));
  if (host_bandwidth.given)
    TW_RETURN_IF_ERROR(in_range("host-bandwidth, in bytes/s,", host_bandwidth.value, 1, 1e15));
  if (host_link.given) TW_RETURN_IF_ERROR(in_range("host-link, in bytes/s,", host_link.value, 1, 1e15));
  TW_RETURN_IF_ERROR(in_range("host-power, in watts,", host_power.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("network-power, in watts,", network_power.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("price, in USD,", price.value, 0, 1e9));
  TW_RETURN_IF_ERROR(in_range("rent, in USD/h,", rent.value, 0, 1e6));
  TW_RETURN_IF_ERROR(in_range("electricity, in USD/kWh,", electricity.value, 0, 1e3));
  TW_RETURN_IF_ERROR(in_range("carbon, in g/kWh,", carbon.value, 0, 1e6));
  return check_second(*this);
}

}  // namespace tw::spec
