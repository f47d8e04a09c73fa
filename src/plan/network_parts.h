// Switches and transceivers by name, from data/planner/network_parts.csv. A blank is what nobody says.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/quantity.h"

namespace tw::plan {

struct NetworkPart {
  std::string name, kind, source;  ///< kind: switch or optic
  int ports = 0;
  double rate = 0;  ///< of a port and direction, bytes/s
  std::optional<double> watts, price;
  Provenance provenance = Provenance::kDatasheet;
};

base::Result<std::vector<NetworkPart>> parse_network_parts(std::string_view csv, const std::string& where);

/// Those in the program.
const std::vector<NetworkPart>& network_parts();

/// A switch by name; the error lists those there are.
base::Result<const NetworkPart*> find_switch(std::string_view name);
/// A transceiver of this rate; null: none is known.
const NetworkPart* find_optic(double rate);

}  // namespace tw::plan
