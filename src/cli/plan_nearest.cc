#include "cli/plan_nearest.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "base/affinity.h"
#include "plan/search.h"

namespace tw::cli {
namespace {

/// Of all that is tried for one answer: a search that has begun goes on to its end.
class Deadline {
 public:
  bool past() const { return std::chrono::steady_clock::now() > end_; }

 private:
  std::chrono::steady_clock::time_point end_ = std::chrono::steady_clock::now() + std::chrono::seconds(4);
};

double apart(int a, int b) {
  return std::fabs(std::log2(static_cast<double>(a) / std::max(1, b)));
}

bool fits(const plan::Setting& s, const spec::ParallelPlan& p) {
  const auto e = plan::estimate(s, p);
  return e.ok() && e->fits();
}

/// Whether it may fit with this much in the hosts: all else shared, computed again and cut as far as it goes.
bool may_fit(const plan::Setting& s, spec::ParallelPlan p) {
  p.recompute = spec::Recompute::kFull, p.micro_batch = 1, p.shard = 0;
  for (const int zero : {3, 2}) {
    p.zero = std::max(p.zero, zero);
    if (fits(s, p)) return true;
    if (p.zero == 3 && p.offload == spec::Offload::kParameters) return false;
    p.zero = std::min(p.zero, 2);
  }
  return false;
}

/// Whether more recomputation and smaller micro-batches than were wanted make `p` fit, which it then has.
bool made_smaller(const plan::Setting& s, const spec::ParallelPlan& wanted, spec::ParallelPlan& p) {
  for (int r = static_cast<int>(wanted.recompute); r <= 2; ++r) {
    for (int micro = wanted.micro_batch; micro >= 1; micro /= 2) {
      p.recompute = static_cast<spec::Recompute>(r), p.micro_batch = micro;
      if (fits(s, p)) return true;
    }
  }
  return false;
}

/// Sizes of groups that share from the wanted one up, each a whole number of the last, and 0: all do.
std::vector<int> wider_groups(const spec::ParallelPlan& wanted) {
  std::vector<int> sizes = {wanted.shard};
  if (wanted.shard <= 0) return sizes;
  for (std::int64_t size = wanted.shard + 1; size < wanted.replicas(); ++size) {
    if (wanted.replicas() % size == 0 && size % sizes.back() == 0) sizes.push_back(static_cast<int>(size));
  }
  sizes.push_back(0);
  return sizes;
}

/// The plan with the least change that makes it fit: recomputation, then larger groups that share, then
/// sharing state, then all of it, then hosts if they are known.
std::optional<spec::ParallelPlan> made_to_fit(const plan::Setting& s, const spec::ParallelPlan& wanted,
                                              const Deadline& deadline) {
  for (int offload = static_cast<int>(wanted.offload); offload <= 2; ++offload) {
    if (offload > 0 && (s.mixed() || !s.host_memory().ok())) break;
    spec::ParallelPlan least = wanted;
    least.offload = static_cast<spec::Offload>(offload);
    if (!may_fit(s, least)) continue;
    for (int zero = wanted.zero; zero <= 3; ++zero) {
      for (const int shard : wider_groups(wanted)) {
        if (deadline.past()) return {};
        spec::ParallelPlan p = least;
        p.zero = zero, p.shard = shard;
        if (made_smaller(s, wanted, p)) return p;
      }
    }
  }
  return {};
}

std::vector<int> near_divisors(std::int64_t whole, int size) {
  constexpr int kNear = 16;
  constexpr std::size_t kMost = 6;  // what is named is near in most of a plan's numbers
  std::vector<int> divisors;
  for (int d = std::max(1, size / kNear); d <= whole && d / kNear <= size; ++d) {
    if (whole % d == 0) divisors.push_back(d);
  }
  std::ranges::sort(divisors, {}, [&](int d) { return std::pair(apart(d, size), d); });
  if (divisors.size() > kMost) divisors.resize(kMost);
  return divisors;
}

/// One or two numbers, none twice.
std::vector<int> both(int first, int second) {
  return first == second ? std::vector<int>{first} : std::vector<int>{first, second};
}

/// Sizes of groups, and 0: all replicas share.
std::vector<int> shards_near(int wanted, std::int64_t replicas) {
  if (wanted <= 0) return both(wanted, 0);
  std::vector<int> sizes = near_divisors(replicas, wanted);
  sizes.push_back(0);
  return sizes;
}

/// Plans that divide model, batch and accelerators, those nearest to the wanted one first, none twice.
std::vector<spec::ParallelPlan> dividing_plans(const plan::Setting& s, const spec::ParallelPlan& wanted) {
  const std::int64_t all = s.accelerators();
  std::vector<std::pair<double, spec::ParallelPlan>> found;
  for (const int tensor : near_divisors(all, wanted.tensor)) {
    for (const int pipeline : near_divisors(all / tensor, wanted.pipeline)) {
      for (const int context :
           near_divisors(std::gcd(all / tensor / pipeline, s.training.sequence), wanted.context)) {
        spec::ParallelPlan p = wanted;
        p.tensor = tensor, p.pipeline = pipeline, p.context = context;
        const std::int64_t replicas = all / tensor / pipeline / context;
        if (replicas > s.job.batch) continue;
        p.data = static_cast<int>(replicas);
        for (const int micro : near_divisors(s.job.batch / replicas, wanted.micro_batch)) {
          p.micro_batch = micro;
          const auto experts = std::max<std::int64_t>(1, s.model.config.experts.count);
          for (const int expert : near_divisors(experts, wanted.expert)) {
            p.expert = expert;
            for (const int pieces : both(wanted.interleave, 1)) {
              p.interleave = pieces;
              for (const int shard : shards_near(wanted.shard, replicas * context)) {
                p.shard = shard;
                if (!p.validate(s.model.config, all, s.job.batch).ok() ||
                    !plan::check_interleave(p, s.model.config, s.job.batch).ok())
                  continue;
                const double off = apart(tensor, wanted.tensor) + apart(pipeline, wanted.pipeline) +
                                   apart(context, wanted.context) + apart(micro, wanted.micro_batch) +
                                   apart(expert, wanted.expert) + (pieces == wanted.interleave ? 0 : 0.5) +
                                   (shard == wanted.shard ? 0
                                    : shard == 0          ? 1
                                                          : apart(shard, wanted.shard));
                found.emplace_back(off, p);
              }
            }
          }
        }
      }
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    const auto key = [](const auto& f) {
      const spec::ParallelPlan& p = f.second;
      return std::tuple(f.first, p.tensor, p.pipeline, p.context, p.expert, p.micro_batch, p.interleave,
                        p.shard);
    };
    return key(a) < key(b);
  });
  std::vector<spec::ParallelPlan> plans;
  plans.reserve(found.size());
  for (auto& [off, p] : found) plans.push_back(p);
  return plans;
}

/// The fastest that a search finds; none: none fits, or it cannot be told, which `lacking` then says why.
std::optional<spec::ParallelPlan> fastest_on(const plan::Setting& s, base::Team& team, std::string& lacking) {
  plan::SearchOptions options;
  options.keep = 1;
  const auto found = plan::search(s, options, team);
  if (!found.ok() && found.error().code == base::Code::kNotFound) lacking = found.error().message;
  // What fits may still train nothing, failing too often.
  if (!found.ok() || found->best.empty() || !fits(s, found->best[0].plan)) return {};
  return found->best[0].plan;
}

/// The least multiple of `unit` that is no less.
std::int64_t whole_units(double count, std::int64_t unit) {
  return static_cast<std::int64_t>(std::ceil(count / static_cast<double>(unit))) * unit;
}

std::string number_that_fits(const plan::Setting& setting, base::Team& team, const Deadline& deadline) {
  constexpr std::int64_t kMost = 1 << 16;
  const auto memory = setting.memory();
  if (setting.mixed() || setting.accelerator.machine != nullptr || !memory.ok()) return {};
  const std::int64_t own = setting.accelerators(), slice = setting.fabric.torus.places();
  const std::int64_t node = std::lcm(setting.cluster.per_node > 0 ? setting.cluster.per_node : 8,
                                     std::max(1, setting.cluster.scale_up));
  // Without hosts, weights, gradients and optimizer of all parameters must lie somewhere (plan/memory.h).
  const double held = 18.0 * static_cast<double>(setting.model.config.parameter_count());
  const double least = setting.host_memory().ok() ? 1 : held / memory->value;
  std::string lacking;
  std::int64_t count = own;
  bool tried = false;
  while (!deadline.past()) {
    const double next = std::max(static_cast<double>(count) + 1, least);
    if (next > kMost) break;
    // Whole slices or nodes, and of many an eighth of the power of two below.
    std::int64_t unit = !setting.fabric.torus.sizes.empty() ? slice
                        : next > static_cast<double>(node)  ? node
                                                            : 1;
    const auto eighth = static_cast<std::int64_t>(std::exp2(std::floor(std::log2(next)) - 3));
    if (eighth > unit) unit = whole_units(static_cast<double>(eighth), unit);
    count = whole_units(next, unit);
    plan::Setting more = setting;
    more.cluster.accelerators = count;
    if (!more.cluster.validate().ok() || !more.check_slices().ok()) continue;
    if (const auto plan = fastest_on(more, team, lacking))
      return fmt::format("; the nearest number of accelerators that fits: {}, as {}", count, plan->text());
    if (!lacking.empty()) return fmt::format("; to tell how many would: {}", lacking);
    tried = true;
  }
  return tried ? "; nor do more of these accelerators make it fit that were tried" : "";
}

}  // namespace

std::string nearest_number(const plan::Setting& setting, base::Team& team) {
  return number_that_fits(setting, team, {});
}

namespace {

std::string found_by_search(const plan::Setting& s, const Deadline& deadline) {
  auto placement = base::place_threads(0, {});
  if (s.mixed() || s.accelerator.machine != nullptr || !placement.ok() || deadline.past())
    return ": see tokenworks plan search";
  base::Team team(std::move(*placement));
  std::string lacking;
  if (const auto plan = fastest_on(s, team, lacking))
    return "; the fastest that fits, by tokenworks plan search: " + plan->text();
  return fmt::format("; nor does any other plan on {} accelerators{}", s.accelerators(),
                     number_that_fits(s, team, deadline));
}

}  // namespace

std::string nearest_that_fits(const plan::Setting& s, const spec::ParallelPlan& wanted) {
  const Deadline deadline;
  if (const auto p = made_to_fit(s, wanted, deadline)) return "; the nearest plan that fits: " + p->text();
  return "; no sharing, recomputation or smaller micro-batch makes it fit" + found_by_search(s, deadline);
}

std::string nearest_that_works(const plan::Setting& s, spec::ParallelPlan wanted, const base::Error& why) {
  if (s.mixed() || s.accelerator.machine != nullptr || !wanted.check_sizes().ok()) return {};
  wanted.zero = std::min(wanted.zero, 3);
  if (wanted.offload == spec::Offload::kParameters && wanted.zero != 3)
    wanted.offload = spec::Offload::kOptimizer;
  constexpr std::size_t kTried = 24, kChanged = 24, kLooked = 512;  // a second or so
  const Deadline deadline;
  const std::vector<spec::ParallelPlan> near = dividing_plans(s, wanted);
  std::vector<spec::ParallelPlan> whole;  // what a sequence does not divide by is no plan either
  std::optional<base::Error> first;       // why one that divides is none
  for (std::size_t i = 0; i < near.size() && i < kLooked && whole.size() < kTried && !deadline.past(); ++i) {
    const auto e = plan::estimate(s, near[i]);
    if (!e.ok()) {
      if (!first) first = e.error();
      // What the catalogue lacks for one it lacks for all.
      if (e.error().code == base::Code::kNotFound) break;
      continue;
    }
    if (e->fits()) return "; the nearest plan that works: " + near[i].text();
    whole.push_back(near[i]);
  }
  std::vector<spec::ParallelPlan> changed;  // which have smaller micro-batches, too
  for (spec::ParallelPlan p : whole) {
    p.micro_batch = std::min(p.micro_batch, wanted.micro_batch);
    const bool known = std::ranges::any_of(changed, [&](const auto& c) { return c.text() == p.text(); });
    if (known || changed.size() >= kChanged ||
        !p.validate(s.model.config, s.accelerators(), s.job.batch).ok())
      continue;
    changed.push_back(p);
    if (const auto made = made_to_fit(s, p, deadline))
      return "; the nearest plan that works: " + made->text();
  }
  if (!whole.empty()) return "; those near it that divide do not fit" + found_by_search(s, deadline);
  // What is wrong with all of them is nothing that another plan changes.
  if (first && first->message == why.message) return {};
  if (first) return fmt::format("; {}, which divides, is no plan either: {}", near[0].text(), first->message);
  return fmt::format("; no plan near it divides {} accelerators and a batch of {}", s.accelerators(),
                     s.job.batch);
}

}  // namespace tw::cli
