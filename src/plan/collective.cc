#include "plan/collective.h"

#include <algorithm>
#include <cmath>

namespace tw::plan {

using ops::Collective;

namespace {

/// Times that an all-reduce moves what the others move once.
double way(Collective kind) {
  return kind == Collective::kAllReduce ? 2 : 1;
}

}  // namespace

TorusPart torus_part(const Torus& torus, std::int64_t stride, std::int64_t ranks) {
  TorusPart part;
  std::int64_t left = ranks;
  const auto halves = [](double size) {  // of two, in which a cut through the middle parts `size`
    return std::floor(size / 2) * std::ceil(size / 2) / (size * size);
  };
  for (const std::int64_t size : torus.sizes) {
    if (left <= 1) break;
    if (stride >= size && stride % size == 0) {
      stride /= size;
      continue;
    }
    const std::int64_t room = size / stride, taken = std::min(room, left);
    if (size % stride != 0 || left % taken != 0 || taken < 1) break;
    if (taken > 1) {
      const double links = (taken == room ? 2.0 : 1.0) / static_cast<double>(stride);
      const auto n = static_cast<double>(taken);
      part.links += links;
      part.hops += (taken == room ? n / 2 : n - 1) * static_cast<double>(stride);
      part.crossing = std::max(part.crossing, n * halves(n) / links);
    }
    left /= taken;
    stride = 1;
  }
  if (left <= 1) return part;
  const auto n = static_cast<double>(ranks);
  return {1, n - 1, n * halves(n)};
}

double torus_seconds(const TorusPart& part, Collective kind, std::int64_t ranks, double bytes, double rate) {
  if (ranks <= 1) return 0;
  if (kind == Collective::kAllToAll) return part.crossing * bytes / rate;
  const auto n = static_cast<double>(ranks);
  return way(kind) * (n - 1) / n * bytes / (part.links * rate);
}

double network_seconds(const Fabric& fabric, Collective kind, double ranks, double stride, double inner,
                       double bytes, double nic) {
  const double members = fabric.group > 0
                             ? std::clamp(std::floor(static_cast<double>(fabric.group) / stride), 1.0, ranks)
                             : ranks;
  if (kind == Collective::kAllToAll) {
    const double narrow = bytes * (ranks - members) / ranks * fabric.oversubscription / nic;
    return std::max(bytes * (ranks - inner) / ranks / nic, narrow);
  }
  // A ring enters and leaves each node once, through the NICs of all its ranks there.
  const bool sums = fabric.reduces && kind == Collective::kAllReduce;
  const double seconds = (sums ? 1 : way(kind) * (ranks - 1) / ranks) * bytes / (inner * nic);
  if (members >= ranks) return seconds;
  // Of a group's accelerators only those at the ends of its part of the rings send out of it.
  const double out = std::max(inner, 1.0) / std::max(members, inner);
  return seconds * std::max(1.0, out * fabric.oversubscription * (fabric.dragonfly ? 2 : 1));
}

SliceSeconds slices_seconds(const Fabric& fabric, Collective kind, std::int64_t ranks, std::int64_t stride,
                            double bytes, double nic) {
  const std::int64_t places = fabric.torus.places();
  const std::int64_t inner = std::clamp<std::int64_t>(places / stride, 1, ranks);
  const TorusPart part = torus_part(fabric.torus, stride, inner);
  SliceSeconds s;
  if (inner >= ranks) {
    s.inside = torus_seconds(part, kind, ranks, bytes, fabric.torus_link);
    return s;
  }
  const double slices = static_cast<double>(ranks) / static_cast<double>(inner);
  if (kind == Collective::kAllToAll) {
    s.inside = torus_seconds(part, kind, inner, bytes / slices, fabric.torus_link);
    s.network = bytes * (slices - 1) / slices / nic;
    return s;
  }
  s.inside = torus_seconds(part, kind, inner, bytes, fabric.torus_link);
  const bool sums = fabric.reduces && kind == Collective::kAllReduce;
  s.network = (sums ? 1 : way(kind) * (slices - 1) / slices) * bytes / static_cast<double>(inner) / nic;
  return s;
}

}  // namespace tw::plan
