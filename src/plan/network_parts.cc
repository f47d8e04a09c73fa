#include "plan/network_parts.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

#include "plan/csv.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

base::Result<std::vector<NetworkPart>> parse_network_parts(std::string_view csv, const std::string& where) {
  TW_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::parse(csv, where));
  std::size_t column[8];
  static constexpr const char* kNames[] = {"name",  "kind",          "ports",      "gbps",
                                           "watts", "price_usd_est", "provenance", "source"};
  for (std::size_t i = 0; i < 8; ++i) {
    TW_ASSIGN_OR_RETURN(column[i], table.column(kNames[i]));
  }
  std::vector<NetworkPart> parts;
  parts.reserve(table.rows());
  for (std::size_t row = 0; row < table.rows(); ++row) {
    NetworkPart p;
    p.name = table.text(row, column[0]), p.kind = table.text(row, column[1]);
    TW_ASSIGN_OR_RETURN(const auto ports, table.number(row, column[2]));
    TW_ASSIGN_OR_RETURN(const auto gbps, table.number(row, column[3]));
    if (!ports || *ports < 1 || !gbps || *gbps <= 0)
      return base::Error{base::Code::kCorrupt, "a part needs ports and gbps", table.place(row)};
    p.ports = static_cast<int>(*ports), p.rate = *gbps * 1.25e8;
    TW_ASSIGN_OR_RETURN(p.watts, table.number(row, column[4]));
    TW_ASSIGN_OR_RETURN(p.price, table.number(row, column[5]));
    if (table.text(row, column[6]) == provenance_name(Provenance::kVendorClaim))
      p.provenance = Provenance::kVendorClaim;
    p.source = table.text(row, column[7]);
    parts.push_back(std::move(p));
  }
  return parts;
}

const std::vector<NetworkPart>& network_parts() {
  static const std::vector<NetworkPart> parts = [] {
    auto read = parse_network_parts(shipped("network_parts.csv"), "network_parts.csv");
    TW_CHECK(read.ok(), "network_parts.csv is broken");
    return std::move(read).value();
  }();
  return parts;
}

base::Result<const NetworkPart*> find_switch(std::string_view name) {
  std::string known;
  for (const NetworkPart& p : network_parts()) {
    if (p.kind == "optic") continue;
    if (same_name(p.name, name)) return &p;
    known += (known.empty() ? "" : ", ") + p.name;
  }
  return base::error(base::Code::kNotFound,
                     "no switch \"{}\" is known: give --radix and --port-speed, or one of {}", name, known);
}

const NetworkPart* find_optic(double rate) {
  for (const NetworkPart& p : network_parts()) {
    if (p.kind == "optic" && std::fabs(p.rate / rate - 1) < 1e-6) return &p;
  }
  return nullptr;
}

}  // namespace tw::plan
