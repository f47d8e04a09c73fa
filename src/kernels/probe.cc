#include "kernels/probe.h"

namespace tw::kernels {

Ceilings probe_ceilings(int, std::size_t) { return {}; }

}  // namespace tw::kernels
