#include "plan/catalogue.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "plan/csv.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

constexpr FieldInfo kFieldInfo[kFields] = {
    {"fp64", "TFLOP/s", "fp64"},
    {"fp32", "TFLOP/s", "fp32"},
    {"tf32", "TFLOP/s", "tf32"},
    {"bf16_dense_tflops", "TFLOP/s", "bf16"},
    {"fp16_dense_tflops", "TFLOP/s", "fp16"},
    {"fp8_dense_tflops", "TFLOP/s", "fp8"},
    {"int8_dense_tops", "TOP/s", "int8"},
    {"fp4_dense_tflops", "TFLOP/s", "fp4"},
    {"mem_gb", "GB", "memory"},
    {"mem_bw_gbs", "GB/s", "mem bw"},
    {"scaleup_bw_gbs_per_dir", "GB/s per direction", "scale-up"},
    {"scaleup_domain_size", "accelerators", "domain"},
    {"nic_gbs", "GB/s", "nic"},
    {"tdp_w", "W", "TDP"},
    {"price_usd_est", "USD", "price"},
    {"host_mem_gb", "GB", "host memory"},
    {"host_mem_bw_gbs", "GB/s", "host bw"},
    {"host_link_gbs_per_dir", "GB/s per direction", "host link"},
};

base::Result<Provenance> parse_provenance(const std::string& text, const std::string& place) {
  for (const Provenance p : {Provenance::kMeasured, Provenance::kDatasheet, Provenance::kVendorClaim,
                             Provenance::kExtrapolated, Provenance::kAssumed}) {
    if (text == provenance_name(p)) return p;
  }
  return base::error(base::Code::kCorrupt,
                     "{}: provenance '{}' is none of measured, datasheet, vendor claim, "
                     "extrapolated, assumed",
                     place, text);
}

/// What sparse figures and slipped columns break.
base::Status check(const Accelerator& a, const std::string& place) {
  const auto sixteen = a[Field::kBf16] ? a[Field::kBf16] : a[Field::kFp16];
  if (!sixteen || !a[Field::kFp8]) return base::Ok{};
  const double ratio = *a[Field::kFp8] / *sixteen;
  const bool twice = std::fabs(ratio / 2 - 1) <= 0.02;
  if (!twice && a.fp8_why.empty()) {
    return base::error(
        base::Code::kCorrupt,
        "{}: {}: FP8 dense is {:.2f} times 16-bit dense and fp8_why does not say why (2 is usual; "
        "4 or 1 means that one of them is a sparse figure)",
        place, a.name, ratio);
  }
  if (ratio < 1) {
    return base::error(base::Code::kCorrupt, "{}: {}: FP8 dense is below 16-bit dense", place, a.name);
  }
  return base::Ok{};
}

/// Columns of the file by our names.
struct Columns {
  std::size_t name, vendor, year, memory_type, source, provenance, fp8_why;
  std::array<std::size_t, kFields> fields;

  static base::Result<Columns> of(const CsvTable& table) {
    Columns c{};
    const std::pair<std::size_t*, const char*> texts[] = {
        {&c.name, "name"},      {&c.vendor, "vendor"},
        {&c.year, "year"},      {&c.memory_type, "mem_type"},
        {&c.source, "source"},  {&c.provenance, "provenance"},
        {&c.fp8_why, "fp8_why"}};
    for (const auto& [to, name] : texts) {
      TW_ASSIGN_OR_RETURN(*to, table.column(name));
    }
    for (int i = 0; i < kFields; ++i) {
      TW_ASSIGN_OR_RETURN(c.fields[i], table.column(kFieldInfo[i].column));
    }
    return c;
  }
};

base::Result<Accelerator> read_row(const CsvTable& table, const Columns& columns, std::size_t row) {
  Accelerator a;
  a.name = table.text(row, columns.name);
  a.vendor = table.text(row, columns.vendor);
  a.memory_type = table.text(row, columns.memory_type);
  a.source = table.text(row, columns.source);
  a.fp8_why = table.text(row, columns.fp8_why);
  if (a.name.empty() || a.source.empty())
    return base::error(base::Code::kCorrupt, "{}: an accelerator needs a name and a source",
                       table.place(row));
  TW_ASSIGN_OR_RETURN(a.provenance, parse_provenance(table.text(row, columns.provenance), table.place(row)));
  TW_ASSIGN_OR_RETURN(const auto year, table.number(row, columns.year));
  a.year = static_cast<int>(year.value_or(0));
  for (int i = 0; i < kFields; ++i) {
    TW_ASSIGN_OR_RETURN(a.values[i], table.number(row, columns.fields[i]));
    if (a.values[i] && *a.values[i] <= 0)
      return base::error(base::Code::kCorrupt, "{}: {} is not positive", table.place(row),
                         kFieldInfo[i].column);
  }
  a.printed = a.values;
  TW_RETURN_IF_ERROR(check(a, table.place(row)));
  return a;
}

/// Letters and digits alone, small.
std::string squeezed(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

/// Names of papers and of schedulers that are no beginning of a catalogue's name.
constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"a100", "A100 SXM 80GB"},
    {"a10080gb", "A100 SXM 80GB"},
    {"a10080gbsxm", "A100 SXM 80GB"},
    {"a10040gb", "A100 SXM 40GB"},
    {"a100sxm", "A100 SXM 80GB"},
    {"h100", "H100 SXM"},
    {"h10080gb", "H100 SXM"},
    {"h10080gbsxm", "H100 SXM"},
    {"h10080gb700w", "H100 SXM"},
    {"h100sxm580gb", "H100 SXM"},
    {"h200", "H200 SXM"},
    {"h800", "H800 SXM"},
    {"b200", "B200 SXM (HGX)"},
    {"b200sxm", "B200 SXM (HGX)"},
    {"b300", "B300 SXM (Blackwell Ultra HGX)"},
    {"b300sxm", "B300 SXM (Blackwell Ultra HGX)"},
    {"gb200", "GB200 NVL72 (per GPU)"},
    {"gb300", "GB300 NVL72 (per GPU)"},
    {"gh200", "GH200 (96GB HBM3)"},
    {"v100", "V100 SXM2 32GB"},
    {"p100", "P100 SXM2 (DGX-1)"},
    {"v6e", "TPU v6e Trillium"},
    {"tpuv6e", "TPU v6e Trillium"},
    {"tpuv7x", "TPU v7x Ironwood"},
    {"rubin", "Rubin (VR NVL72, per GPU)"},
    {"ascend910", "Ascend 910 (2019)"},
};

/// What a cluster may say instead, as the first half of an advice; empty: nothing.
std::string instead_of(Field field, bool second) {
  struct Key {
    Field field;
    const char *name, *example;
    bool of_second;  ///< a second kind has it too
  };
  static constexpr Key kKeys[] = {{Field::kBf16, "peak", "\"989 TFLOP/s\"", true},
                                  {Field::kFp16, "peak", "\"989 TFLOP/s\"", true},
                                  {Field::kFp8, "fp8-peak", "\"1979 TFLOP/s\"", true},
                                  {Field::kFp4, "fp4-peak", "\"9 PFLOP/s\"", true},
                                  {Field::kMemory, "memory", "\"80 GB\"", true},
                                  {Field::kMemoryBandwidth, "memory-bandwidth", "\"3.35 TB/s\"", true},
                                  {Field::kScaleUpBandwidth, "scale-up-bandwidth", "\"450 GB/s\"", true},
                                  {Field::kScaleUpDomain, "scale-up", "8", true},
                                  {Field::kNic, "nic", "\"400 Gb/s\"", true},
                                  {Field::kTdp, "power", "\"700 W\"", true},
                                  {Field::kPrice, "price", "\"50000 USD\"", true},
                                  {Field::kHostMemory, "host-memory", "\"256 GB\"", false},
                                  {Field::kHostBandwidth, "host-bandwidth", "\"50 GB/s\"", false},
                                  {Field::kHostLink, "host-link", "\"32 GB/s\"", false}};
  for (const Key& key : kKeys) {
    if (key.field != field || (second && !key.of_second)) continue;
    const std::string flag = std::string(second ? "second-" : "") + key.name;
    return fmt::format("give --{0} {1} (\"{0}\" in the cluster's file), or ", flag, key.example);
  }
  return {};
}

}  // namespace

const FieldInfo& field_info(Field field) {
  return kFieldInfo[static_cast<int>(field)];
}

base::Result<Quantity> Accelerator::get(Field field) const {
  const auto& value = (*this)[field];
  const FieldInfo& info = field_info(field);
  if (!value) {
    return base::error(base::Code::kNotFound,
                       "the catalogue has no {} ({}, {}) for {}: {}choose another accelerator", info.title,
                       info.column, info.unit, name, instead_of(field, second));
  }
  if (given.test(static_cast<std::size_t>(field)))
    return Quantity::around(*value, 0, info.unit, Provenance::kAssumed);
  if (field == Field::kPrice) return Quantity::around(*value, 0.25, info.unit, Provenance::kAssumed);
  // Datasheets round; claims of makers before delivery have been off by a tenth in both directions.
  const double spread = provenance == Provenance::kDatasheet ? 0.02 : 0.1;
  return Quantity::around(*value, spread, info.unit, provenance);
}

base::Result<Quantity> Accelerator::inside() const {
  const bool nic_alone = !(*this)[Field::kScaleUpBandwidth] && (*this)[Field::kNic];
  return get(nic_alone ? Field::kNic : Field::kScaleUpBandwidth);
}

base::Result<Catalogue> Catalogue::parse(std::string_view csv, const std::string& where) {
  TW_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::parse(csv, where));
  TW_ASSIGN_OR_RETURN(const Columns columns, Columns::of(table));
  Catalogue catalogue;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    TW_ASSIGN_OR_RETURN(Accelerator a, read_row(table, columns, row));
    for (const Accelerator& other : catalogue.accelerators_) {
      if (squeezed(other.name) == squeezed(a.name))
        return base::error(base::Code::kCorrupt, "{}: {} is there twice", table.place(row), a.name);
    }
    catalogue.accelerators_.push_back(std::move(a));
  }
  return catalogue;
}

const Catalogue& Catalogue::shipped() {
  static const Catalogue catalogue = [] {
    auto parsed = parse(plan::shipped("accelerators.csv"), "accelerators.csv");
    TW_CHECK(parsed.ok(), "the shipped catalogue is broken");
    return std::move(parsed).value();
  }();
  return catalogue;
}

base::Result<const Accelerator*> Catalogue::find(std::string_view name) const {
  std::string wanted = squeezed(name);
  for (const auto& [alias, full] : kAliases) {
    if (wanted == alias) wanted = squeezed(full);
  }
  std::vector<const Accelerator*> near;
  for (const Accelerator& a : accelerators_) {
    const std::string own = squeezed(a.name);
    if (own == wanted) return &a;
    if (!wanted.empty() && own.starts_with(wanted)) near.push_back(&a);
  }
  if (near.size() == 1) return near[0];
  std::string names;
  for (const Accelerator* a : near) names += (names.empty() ? "" : ", ") + a->name;
  if (near.empty()) {
    return base::error(base::Code::kNotFound,
                       "the catalogue has no accelerator '{}'; `tokenworks plan catalog` "
                       "lists what it has",
                       name);
  }
  return base::error(base::Code::kInvalidArgument, "'{}' may be any of: {}", name, names);
}

}  // namespace tw::plan
