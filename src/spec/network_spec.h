// The network between accelerators, as it is to be sized. ONE field list (visit) feeds the file, the flags,
// --help and the docs table.
#pragma once

#include <cstdint>
#include <string>

#include "spec/measure.h"

namespace tw::spec {

struct NetworkSpec {
  std::string topology = "fat-tree";
  std::int64_t nodes = 0;
  int nics = 8;    ///< of a node
  int planes = 1;  ///< copies of the fabric; a NIC has a port in each
  Measure<Dimension::kBytesPerSecond> nic;
  int tiers = 0;  ///< 0: as few as do
  std::string switch_name, spine_name;
  int radix = 0, spine_radix = 0;
  Measure<Dimension::kBytesPerSecond> port_speed, spine_speed, link_speed;
  double oversubscription = 1;
  int leaf_down = 0, leaf_up = 0;
  std::string torus = "3d";
  int cube = 0, optical_ports = 128;
  std::string endpoint_cable = "optical";
  Measure<Dimension::kWatts> switch_power, spine_power, optic_power, nic_power;
  Measure<Dimension::kUsd> switch_price, spine_price, optic_price, cable_price, nic_price;

  std::int64_t endpoints() const { return nodes * nics; }

  /// Calls v(name, reference to the field, help) for each field.
  template <typename Self, typename Visitor>
  static void visit(Self& n, Visitor&& v) {
    v("topology", n.topology, "fat-tree, rail, torus or dragonfly (default: fat-tree)");
    v("nodes", n.nodes, "how many there are");
    v("nics", n.nics, "NICs of a node; of a torus, its accelerators (default: 8)");
    v("planes", n.planes, "copies of the fabric; each NIC has a port in each (default: 1)");
    v("nic", n.nic, "of a NIC's port and direction, or of a torus's link, such as \"400 Gb/s\"");
    v("tiers", n.tiers, "1, 2 or 3 tiers of switches (default: as few as do)");
    v("switch", n.switch_name,
      "leaf switch by name, which gives radix, port-speed and power, such as SN5600");
    v("spine-switch", n.spine_name, "switch above the leaves, by name (default: the leaves')");
    v("radix", n.radix, "ports of a leaf, or of a dragonfly's switch");
    v("port-speed", n.port_speed, "of a leaf's port; it can be split in 2, 4 or 8 (default: the NIC's)");
    v("spine-radix", n.spine_radix, "ports of a switch above the leaves (default: radix)");
    v("spine-speed", n.spine_speed, "of such a port (default: port-speed)");
    v("link-speed", n.link_speed, "between switches (default: the fastest that reaches far enough)");
    v("oversubscription", n.oversubscription, "bandwidth down over bandwidth up of a leaf (default: 1)");
    v("leaf-down", n.leaf_down, "endpoints of a leaf (default: as many as the ratio lets in)");
    v("leaf-up", n.leaf_up, "links of a leaf to spines (default: as many as the ratio needs)");
    v("torus", n.torus, "sizes such as 16x16x16, or 2d or 3d: as even as they come (default: 3d)");
    v("cube", n.cube, "side of the blocks that optical switches join into a torus (default: none, wired)");
    v("optical-ports", n.optical_ports, "ports of an optical switch (default: 128)");
    v("endpoint-cable", n.endpoint_cable, "optical or copper, from NIC to leaf (default: optical)");
    v("switch-power", n.switch_power, "of a leaf or optical switch, without optics, such as \"1 kW\"");
    v("spine-power", n.spine_power, "of a switch above the leaves (default: the leaves', when the same)");
    v("optic-power", n.optic_power, "of a transceiver, of which an optical cable has two");
    v("nic-power", n.nic_power, "of a NIC, such as \"25 W\" (default: not counted)");
    v("switch-price", n.switch_price, "of a leaf or optical switch, such as \"30000 USD\"");
    v("spine-price", n.spine_price, "of a switch above the leaves (default: the leaves', when the same)");
    v("optic-price", n.optic_price, "of a transceiver");
    v("cable-price", n.cable_price, "of a cable without its transceivers");
    v("nic-price", n.nic_price, "of a NIC (default: not counted)");
  }

  /// The error names the field, its value and its range.
  base::Status validate() const;

 private:
  base::Status check_used() const;
};

}  // namespace tw::spec
