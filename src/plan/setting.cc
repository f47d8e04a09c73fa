#include "plan/setting.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "plan/advice.h"
#include "plan/machine_stack.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

/// The software whose measured runs on such accelerators are in the data.
std::string usual_stack(const Accelerator& a) {
  if (a.name.starts_with("TPU")) return "MaxText on TPU";
  if (a.name.starts_with("A100") || a.name.starts_with("V100")) return "Megatron-LM 2022";
  if (a.vendor == "NVIDIA" && a.year >= 2022) return "Megatron-Bridge";
  return {};
}

base::Result<Fabric> fabric_of(const spec::ClusterSpec& c, const Accelerator& a) {
  Fabric f;
  f.dragonfly = c.network == "dragonfly";
  f.group = c.group, f.oversubscription = c.oversubscription, f.reduces = c.in_network_reduction;
  if (c.network != "torus") return f;
  TW_ASSIGN_OR_RETURN(f.torus, parse_torus(c.torus));
  f.torus_link = c.torus_link.value;
  if (c.torus_link.given) return f;
  const auto all = a.get(Field::kScaleUpBandwidth);
  if (!all.ok())
    return base::error(
        base::Code::kNotFound,
        "{}, of which a torus's link would be a part: give --torus-link \"50 GB/s\" (\"torus-link\" "
        "in the cluster's file)",
        without_advice(all.error().message));
  f.torus_link = all->value * 1e9 / (2.0 * static_cast<double>(f.torus.sizes.size()));
  return f;
}

}  // namespace

const std::vector<TrainingRow>& shipped_rows() {
  static const std::vector<TrainingRow> rows = [] {
    auto read = read_training_rows(shipped("training_measured.csv"), "training_measured.csv");
    TW_CHECK(read.ok(), "the shipped rows are broken");
    return std::move(read).value();
  }();
  return rows;
}

base::Result<Quantity> memory_of(const spec::ClusterSpec& cluster, const Accelerator& accelerator) {
  if (cluster.memory.given) return Quantity::around(cluster.memory.value, 0, "B", Provenance::kAssumed);
  TW_ASSIGN_OR_RETURN(const Quantity gb, accelerator.get(Field::kMemory));
  return Quantity::around(gb.value * kCatalogueGb, 0.005, "B", gb.provenance);
}

base::Result<Quantity> price_of(const spec::ClusterSpec& cluster, const Accelerator& accelerator) {
  if (cluster.price.given) return Quantity::around(cluster.price.value, 0, "USD", Provenance::kAssumed);
  TW_ASSIGN_OR_RETURN(const Quantity bare, accelerator.get(Field::kPrice));
  // What stands around a bare accelerator costs two thirds of it again (facts: 30k and 50k USD for H100).
  return times(bare, Quantity::around(1.67, 0.2, "", Provenance::kAssumed), "USD");
}

base::Result<Quantity> Setting::memory() const {
  return memory_of(cluster, accelerator);
}

base::Result<Quantity> Setting::host_memory() const {
  if (accelerator.machine != nullptr)
    return base::error(base::Code::kInvalidArgument,
                       "{} computes in its host's memory: there is nowhere to offload to", kThisMachine);
  TW_ASSIGN_OR_RETURN(Quantity gb, accelerator.get(Field::kHostMemory));
  TW_RETURN_IF_ERROR(accelerator.get(Field::kHostBandwidth));
  TW_RETURN_IF_ERROR(accelerator.get(Field::kHostLink));
  return times(gb, Quantity::around(1e9, 0, "", Provenance::kMeasured), "B");
}

namespace {

/// As it is measured or printed, before the cluster says anything instead.
base::Result<Accelerator> bare_accelerator(const spec::ClusterSpec& cluster) {
  if (cluster.accelerator != kThisMachine) {
    TW_ASSIGN_OR_RETURN(const Accelerator* found, Catalogue::shipped().find(cluster.accelerator));
    return *found;
  }
  if (cluster.accelerators != 1) {
    return base::error(base::Code::kInvalidArgument,
                       "{} is one accelerator, not {}: its processors are told by `tokenworks plan calibrate "
                       "--threads`",
                       kThisMachine, cluster.accelerators);
  }
  TW_ASSIGN_OR_RETURN(auto curves, MachineCurves::load(cluster.calibration));
  return machine_accelerator(std::move(curves));
}

}  // namespace

base::Result<Accelerator> accelerator_of(const spec::ClusterSpec& cluster) {
  TW_ASSIGN_OR_RETURN(Accelerator a, bare_accelerator(cluster));
  const auto instead = [&](Field field, double value) { a.give(field, value); };
  const char* of_curves = cluster.peak.given                 ? "peak"
                          : cluster.fp8_peak.given           ? "fp8-peak"
                          : cluster.fp4_peak.given           ? "fp4-peak"
                          : cluster.memory_bandwidth.given   ? "memory-bandwidth"
                          : cluster.scale_up_bandwidth.given ? "scale-up-bandwidth"
                                                             : nullptr;
  if (a.machine != nullptr && of_curves != nullptr)
    return base::error(
        base::Code::kInvalidArgument,
        "{} has no effect on {}, whose ops were measured one by one: leave it away, or name an "
        "accelerator of `tokenworks plan catalog`",
        of_curves, kThisMachine);
  if (cluster.scale_up > 0) instead(Field::kScaleUpDomain, cluster.scale_up);
  if (cluster.nic.given) instead(Field::kNic, cluster.nic.value / 1e9);
  if (cluster.power.given) instead(Field::kTdp, cluster.power.value);
  if (cluster.peak.given) {
    instead(Field::kBf16, cluster.peak.value / 1e12);
    instead(Field::kFp16, cluster.peak.value / 1e12);
  }
  if (cluster.fp8_peak.given) instead(Field::kFp8, cluster.fp8_peak.value / 1e12);
  if (cluster.fp4_peak.given) instead(Field::kFp4, cluster.fp4_peak.value / 1e12);
  if (cluster.memory_bandwidth.given) instead(Field::kMemoryBandwidth, cluster.memory_bandwidth.value / 1e9);
  if (cluster.scale_up_bandwidth.given)
    instead(Field::kScaleUpBandwidth, cluster.scale_up_bandwidth.value / 1e9);
  if (cluster.host_memory.given) instead(Field::kHostMemory, cluster.host_memory.value / 1e9);
  if (cluster.host_bandwidth.given) instead(Field::kHostBandwidth, cluster.host_bandwidth.value / 1e9);
  if (cluster.host_link.given) instead(Field::kHostLink, cluster.host_link.value / 1e9);
  return a;
}

base::Status Setting::check_slices() const {
  if (fabric.torus.sizes.empty()) return base::Ok{};
  const std::int64_t places = fabric.torus.places(), n = cluster.accelerators;
  if (n % places == 0) return base::Ok{};
  return base::error(base::Code::kInvalidArgument,
                     "{} accelerators are no whole number of slices of {}: {} would be", n, cluster.torus,
                     (n + places - 1) / places * places);
}

int Setting::nodes() const {
  const std::int64_t of_one = cluster.per_node > 0 ? cluster.per_node : 8;
  const auto whole = [&](std::int64_t count) { return (count + of_one - 1) / of_one; };
  return static_cast<int>(whole(cluster.accelerators) + whole(cluster.second.accelerators));
}

double Setting::spare_accelerators() const {
  const std::int64_t of_one =
      std::min<std::int64_t>(cluster.per_node > 0 ? cluster.per_node : 8, cluster.accelerators);
  return cluster.spares.value * static_cast<double>(of_one);
}

Setting Setting::of_kind(std::size_t kind) const {
  Setting s = *this;
  s.kinds.clear();
  s.cluster = kinds[kind].cluster, s.accelerator = kinds[kind].accelerator, s.fabric = kinds[kind].fabric;
  return s;
}

double Setting::spread(Provenance curves) const {
  if (accelerator.machine != nullptr) return kMachineSpread;
  // What was never measured is worth about 30 %: the worst systems of `plan validate` with typical constants.
  const double software = stack.rows >= 3 ? std::max(0.08, stack.error) : 0.3;
  return std::min(0.5, software + (curves == Provenance::kMeasured ? 0 : 0.1));
}

namespace {

base::Result<std::vector<Kind>> kinds_of(const spec::ClusterSpec& cluster) {
  std::vector<Kind> kinds;
  if (!cluster.mixed()) return kinds;
  for (const spec::ClusterSpec& alone : {cluster.first_alone(), cluster.second_alone()}) {
    if (alone.accelerator == kThisMachine)
      return base::error(base::Code::kInvalidArgument, "{} has no other machine beside it: plan for it alone",
                         kThisMachine);
    TW_ASSIGN_OR_RETURN(Accelerator accelerator, accelerator_of(alone));
    accelerator.second = !kinds.empty();
    // Where kinds meet there is a network, however few there are of each.
    auto& domain = accelerator.values[static_cast<int>(Field::kScaleUpDomain)];
    const auto all = static_cast<double>(alone.accelerators);
    if (domain || all == 1) domain = std::min(domain.value_or(1), all);
    TW_ASSIGN_OR_RETURN(Fabric fabric, fabric_of(alone, accelerator));
    kinds.push_back({alone, std::move(accelerator), fabric});
  }
  return kinds;
}

FittedStack shipped_stack(const std::string& name) {
  const std::vector<TrainingRow>& rows = shipped_rows();
  if (std::ranges::any_of(rows, [&](const TrainingRow& r) { return stack_of(r.system).name == name; }))
    return fit_stack(rows, name);
  // All unknown ones have the same constants, which take a second to find.
  static const FittedStack median = fit_stack(rows, "typical");
  FittedStack stack = median;
  stack.stack = stack_of(name);
  stack.stack.name = name;
  return stack;
}

}  // namespace

base::Result<Setting> make_setting(PlannedModel model, spec::TrainJob job, spec::ClusterSpec cluster) {
  TW_RETURN_IF_ERROR(cluster.validate());
  TW_RETURN_IF_ERROR(job.validate());
  if (job.expert_capacity > 0) {
    if (model.config.experts.count == 0)
      return base::error(base::Code::kInvalidArgument, "{} has no experts: leave expert-capacity out",
                         model.name);
    model.config.experts.capacity = job.expert_capacity;
  }
  TW_ASSIGN_OR_RETURN(Accelerator accelerator, accelerator_of(cluster));
  Setting s{std::move(model), std::move(job), std::move(cluster), std::move(accelerator), {}, {}, {}, {}, {}};
  TW_ASSIGN_OR_RETURN(s.kinds, kinds_of(s.cluster));
  TW_ASSIGN_OR_RETURN(s.fabric, fabric_of(s.cluster, s.accelerator));
  TW_RETURN_IF_ERROR(s.check_slices());
  if (!s.fabric.torus.sizes.empty())
    s.accelerator.values[static_cast<int>(Field::kScaleUpDomain)] =
        static_cast<double>(s.fabric.torus.places());
  s.training.sequence = s.job.sequence;
  s.training.global_batch = s.job.batch;
  s.training.precision = precision_of(s.job.precision);
  if (s.accelerator.machine != nullptr) {
    s.stack = machine_training(*s.accelerator.machine);
    return s;
  }
  if (s.job.stack.empty()) {
    // Of two kinds the newer one's: software for it runs on the older.
    const bool second = s.mixed() && s.kinds[1].accelerator.year > s.accelerator.year;
    s.job.stack = usual_stack(second ? s.kinds[1].accelerator : s.accelerator);
  }
  if (s.job.stack.empty()) s.job.stack = "typical";
  s.stack = shipped_stack(s.job.stack);
  // A fit may blame other errors on the network: nothing is faster than nine tenths of its line.
  double& network = s.stack.constants[static_cast<int>(Constant::kNetwork)];
  network = std::min(network, 0.9);
  return s;
}

}  // namespace tw::plan
