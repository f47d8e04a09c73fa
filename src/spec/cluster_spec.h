// The machines a plan is made for. ONE field list (visit) feeds the file, the flags, --help and the docs
// table.
#pragma once

#include <string>

#include "spec/measure.h"

namespace tw::spec {

/// Accelerators of a second kind, which share the network, hosts and building of the first.
struct SecondKind {
  std::string accelerator;  ///< a name of the catalogue; empty: there is one kind
  std::int64_t accelerators = 0;
  int scale_up = -1;
  Measure<Dimension::kBytes> memory;
  Measure<Dimension::kBytesPerSecond> nic;
  Measure<Dimension::kWatts> power;
  Measure<Dimension::kFlopsPerSecond> peak, fp8_peak, fp4_peak;
  Measure<Dimension::kBytesPerSecond> memory_bandwidth, scale_up_bandwidth;
  Measure<Dimension::kUsd> price;
  Measure<Dimension::kUsdPerHour> rent;
};

struct ClusterSpec {
  std::string accelerator;        ///< a name of the catalogue, or this-machine
  std::int64_t accelerators = 0;  ///< of this kind
  SecondKind second;
  std::string calibration;  ///< of this-machine: the file that `plan calibrate` wrote
  // What is not given is -1, which nobody can give.
  int per_node = -1;  ///< eight, or all when there are fewer
  int scale_up = -1;  ///< accelerators of one scale-up domain: the catalogue's
  Measure<Dimension::kBytes> memory;
  Measure<Dimension::kBytesPerSecond> nic;
  Measure<Dimension::kWatts> power;
  Measure<Dimension::kFlopsPerSecond> peak, fp8_peak, fp4_peak;  ///< dense; the first of 16 bits
  Measure<Dimension::kBytesPerSecond> memory_bandwidth, scale_up_bandwidth;
  Measure<Dimension::kBytes> host_memory;
  Measure<Dimension::kBytesPerSecond> host_bandwidth, host_link;
  Measure<Dimension::kWatts> host_power{450, false};
  Measure<Dimension::kWatts> network_power{50, false};
  std::string network = "fat-tree";
  std::string torus;  ///< sizes of a slice, such as 8x8x16
  Measure<Dimension::kBytesPerSecond> torus_link;
  std::int64_t group = 0;  ///< 0: all
  double oversubscription = 1;
  bool in_network_reduction = false;
  double pue = 1.25;
  double failures = 3.8;
  Measure<Dimension::kSeconds> checkpoint{30, false};
  Measure<Dimension::kSeconds> restart{900, false};
  Measure<Dimension::kCount> spares;  ///< nodes; not given: a failed one is replaced at once, by whoever
  Measure<Dimension::kSeconds> repair{86400, false};
  Measure<Dimension::kUsd> price;
  Measure<Dimension::kSeconds> lifetime{4 * 365.25 * 86400, false};
  Measure<Dimension::kUsdPerHour> rent;
  Measure<Dimension::kUsdPerKwh> electricity{0.08, false};
  Measure<Dimension::kGramsPerKwh> carbon;

  /// Calls v(name, reference to the field, help) for each field.
  template <typename Self, typename Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("accelerator", c.accelerator,
      "a name of `tokenworks plan catalog`, such as H100, or this-machine, once it is calibrated");
    v("accelerators", c.accelerators, "how many there are of them");
    v("calibration", c.calibration,
      "file of `tokenworks plan calibrate`, for accelerator this-machine (default: the store's)");
    v("per-node", c.per_node, "accelerators of a node, which fail together (default: 8)");
    v("scale-up", c.scale_up, "accelerators of one scale-up domain (default: the catalogue's)");
    v("memory", c.memory, "of one accelerator, such as \"80 GB\" (default: the catalogue's)");
    v("nic", c.nic, "of one accelerator and direction, such as \"400 Gb/s\" (default: the catalogue's)");
    v("power", c.power, "of one accelerator at full load, such as \"700 W\" (default: the catalogue's)");
    v("peak", c.peak,
      "dense 16-bit products of one accelerator, such as \"989 TFLOP/s\" (default: the catalogue's)");
    v("fp8-peak", c.fp8_peak, "the same in FP8 (default: the catalogue's)");
    v("fp4-peak", c.fp4_peak, "the same in FP4 (default: the catalogue's)");
    v("memory-bandwidth", c.memory_bandwidth,
      "of one accelerator's memory, such as \"3.35 TB/s\" (default: the catalogue's)");
    v("scale-up-bandwidth", c.scale_up_bandwidth,
      "of one accelerator in its domain and direction, such as \"450 GB/s\" (default: the catalogue's)");
    v("host-memory", c.host_memory,
      "of the host, for each accelerator, such as \"256 GB\", for plans that offload (default: the "
      "catalogue's)");
    v("host-bandwidth", c.host_bandwidth,
      "of the host's memory, for each accelerator, such as \"50 GB/s\" (default: the catalogue's)");
    v("host-link", c.host_link,
      "between host and one accelerator, each direction, such as \"32 GB/s\" (default: the catalogue's)");
    v("host-power", c.host_power, "of processors, memory and fans, for each accelerator (default: 450 W)");
    v("network-power", c.network_power, "of NICs, switches and optics, for each accelerator (default: 50 W)");
    v("network", c.network, "fat-tree, torus or dragonfly (default: fat-tree)");
    v("torus", c.torus, "sizes of a slice of a torus, such as 8x8x16; slices meet over the NICs");
    v("torus-link", c.torus_link,
      "of a link and direction, such as \"50 GB/s\" (default: the catalogue's scale-up over the links)");
    v("group", c.group, "accelerators below one leaf, pod or dragonfly group (default: all)");
    v("oversubscription", c.oversubscription, "what a group could send over what can leave it (default: 1)");
    v("in-network-reduction", c.in_network_reduction, "the network's switches sum");
    v("pue", c.pue, "power of the building over that of the machines (default: 1.25)");
    v("failures", c.failures, "interruptions in 1,000 node-days (default: 3.8, Llama 3's)");
    v("checkpoint", c.checkpoint, "time that a checkpoint holds training up (default: 30 s)");
    v("restart", c.restart, "time from a failure until training runs again (default: 15 min)");
    v("spares", c.spares,
      "nodes kept ready to replace failed ones; without one a run waits for a repair (default: failed nodes "
      "are replaced at once, by nodes that cost nothing)");
    v("repair", c.repair, "time until a failed node can be used again, with spares (default: 24 h)");
    v("price", c.price, "of one accelerator with its share of all else, such as \"50000 USD\"");
    v("lifetime", c.lifetime, "time over which a price is spread (default: 4 years)");
    v("rent", c.rent, "of one accelerator, such as \"2.5 USD/h\", electricity included");
    v("electricity", c.electricity, "price of energy for owners (default: 0.08 USD/kWh)");
    v("carbon", c.carbon, "of the grid, such as \"400 g/kWh\" (default: not computed)");
    visit_second(c, v);
  }

  /// The error names the field, its value and its range.
  base::Status validate() const;
  bool mixed() const { return !second.accelerator.empty(); }
  /// Each kind as a cluster of its own. REQUIRES: mixed().
  ClusterSpec first_alone() const;
  ClusterSpec second_alone() const;

 private:
  template <typename Self, typename Visitor>
  static void visit_second(Self& c, Visitor& v) {
    v("second-accelerator", c.second.accelerator,
      "another kind in the same cluster: other stages of a pipeline run on it");
    v("second-accelerators", c.second.accelerators, "how many there are of the second kind");
    v("second-scale-up", c.second.scale_up, "as scale-up, of the second kind");
    v("second-memory", c.second.memory, "as memory, of the second kind");
    v("second-nic", c.second.nic, "as nic, of the second kind");
    v("second-power", c.second.power, "as power, of the second kind");
    v("second-peak", c.second.peak, "as peak, of the second kind");
    v("second-fp8-peak", c.second.fp8_peak, "as fp8-peak, of the second kind");
    v("second-fp4-peak", c.second.fp4_peak, "as fp4-peak, of the second kind");
    v("second-memory-bandwidth", c.second.memory_bandwidth, "as memory-bandwidth, of the second kind");
    v("second-scale-up-bandwidth", c.second.scale_up_bandwidth, "as scale-up-bandwidth, of the second kind");
    v("second-price", c.second.price, "as price, of the second kind");
    v("second-rent", c.second.rent, "as rent, of the second kind");
  }
};

}  // namespace tw::spec
