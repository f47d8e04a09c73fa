#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/amx/amx.h"
#include "kernels/avx2/avx2.h"
#include "kernels/avx512/avx512.h"
#include "kernels/ref/ref.h"
#include "kernels/table.h"

namespace tw::kernels {
namespace {

struct CpuidLeaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

CpuidLeaf cpuid(unsigned leaf, unsigned subleaf) {
  CpuidLeaf r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

bool bit(unsigned word, int n) {
  return (word >> n & 1U) != 0;
}

/// Which register files the operating system saves (xgetbv 0): without that an instruction set must not be
/// used.
std::uint64_t saved_state(const CpuidLeaf& leaf1) {
  if (!bit(leaf1.c, 27)) return 0;  // OSXSAVE
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

/// Asks the system for the tile registers, which it gives to a process on demand only (Linux,
/// Documentation/arch/x86/xstate.rst). Once is enough; asking again is harmless.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

/// The sets in the order of preference, each with what it needs.
struct SetEntry {
  const char* name;
  bool (*supported)(const CpuFeatures&);
  void (*fill)(const CpuFeatures&, KernelSlots&);
};

#if defined(__x86_64__)
bool has_avx2(const CpuFeatures& f) {
  return f.avx2 && f.fma && f.f16c;
}

bool has_avx512(const CpuFeatures& f) {
  return has_avx2(f) && f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq;
}

bool has_amx(const CpuFeatures& f) {
  return has_avx512(f) && f.avx512vnni && f.avx512bf16 && f.gfni && f.amx_bf16 && f.amx_int8;
}

void fill_avx2(const CpuFeatures& features, KernelSlots& slots) {
  if (features.avxvnni)
    avxvnni_matmul_slots(slots);
  else
    avx2_matmul_slots(slots);
  avx2_palette_slots(slots);
  avx2_float_matmul_slots(slots);
  avx2_attention_slots(slots);
  avx2_cache_slots(slots);
  avx2_row_slots(slots);
  avx2_train_slots(slots);
  avx2_probe_slots(slots);
}

void fill_avx512(const CpuFeatures& features, KernelSlots& slots) {
  avx512_float_matmul_slots(slots);
  avx512_float_product_slots(slots);
  avx512_palette_slots(slots);
  avx512_attention_slots(slots);
  avx512_train_slots(slots);
  avx512_probe_slots(slots);
  if (features.avx512vnni) {
    avx512vnni_matmul_slots(slots);
    avx512vnni_probe_slots(slots);
  } else {
    avx512_matmul_slots(slots);
  }
}

void fill_amx(const CpuFeatures&, KernelSlots& slots) {
  amx_decode_slots(slots);
  amx_prefill_slots(slots);
  amx_int8_prefill_slots(slots);
  amx_probe_slots(slots);
  amx_attention_slots(slots);
  amx_train_slots(slots);
  amx_frozen_slots(slots);
  amx_attention_backward_slots(slots);
}
#endif

const SetEntry kSets[] = {
#if defined(__x86_64__)
    {"amx", has_amx, fill_amx},
    {"avx512", has_avx512, fill_avx512},
    {"avx2", has_avx2, fill_avx2},
#endif
    {"ref", [](const CpuFeatures&) { return true; }, ref_slots},
};

/// Takes every entry that `table` lacks from `lower`.
void fill_from(TrainSlots& table, const TrainSlots& lower) {
  const auto fill = [&](auto TrainSlots::* slot) {
    if (table.*slot == nullptr) table.*slot = lower.*slot;
  };
  fill(&TrainSlots::rms_norm_backward);
  fill(&TrainSlots::layer_norm_backward);
  fill(&TrainSlots::gelu_backward);
  fill(&TrainSlots::add_column_sums);
  fill(&TrainSlots::silu_mul_backward);
  fill(&TrainSlots::cross_entropy);
  fill(&TrainSlots::transpose);
  fill(&TrainSlots::round_bf16);
  fill(&TrainSlots::add);
  fill(&TrainSlots::dropout);
  fill(&TrainSlots::attention_backward);
  fill(&TrainSlots::dropped_attention);
  fill(&TrainSlots::dropped_attention_backward);
  fill(&TrainSlots::adamw);
  fill(&TrainSlots::sum_squares);
}

void fill_from(Table& table, const KernelSlots& lower) {
  fill_from(table.train, lower.train);
  for (int i = 0; i < base::kDTypeCount; ++i) {
    if (table.matmul[i] == nullptr) table.matmul[i] = lower.matmul[i];
    if (table.prefill[i] == nullptr) table.prefill[i] = lower.prefill[i];
    if (table.int8_prefill[i] == nullptr) table.int8_prefill[i] = lower.int8_prefill[i];
  }
  if (table.gradient_matmul == nullptr) table.gradient_matmul = lower.gradient_matmul;
  if (table.train_matmul == nullptr) table.train_matmul = lower.train_matmul;
  if (table.frozen_side == nullptr) table.frozen_side = lower.frozen_side;
  if (table.rms_norm == nullptr) table.rms_norm = lower.rms_norm;
  if (table.rope == nullptr) table.rope = lower.rope;
  if (table.store_kv == nullptr) table.store_kv = lower.store_kv;
  if (table.attention == nullptr) table.attention = lower.attention;
  if (table.merge_attention == nullptr) table.merge_attention = lower.merge_attention;
  if (table.prompt_attention == nullptr) table.prompt_attention = lower.prompt_attention;
  if (table.silu_mul == nullptr) table.silu_mul = lower.silu_mul;
  if (table.layer_norm == nullptr) table.layer_norm = lower.layer_norm;
  if (table.gelu == nullptr) table.gelu = lower.gelu;
  if (table.read_sum == nullptr) table.read_sum = lower.read_sum;
  if (table.peak == nullptr) table.peak = lower.peak;
}

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += list.empty() ? name : ", " + name;
  return list;
}

}  // namespace

CpuFeatures detect_features() {
  // Bit numbers: Intel SDM volume 2A, CPUID; xgetbv bits: volume 1, section 13.3.
  const CpuidLeaf one = cpuid(1, 0), seven = cpuid(7, 0), seven1 = cpuid(7, 1);
  const std::uint64_t state = saved_state(one);
  const bool ymm = (state & 0x6) == 0x6;
  const bool zmm = ymm && (state & 0xE0) == 0xE0;
  const bool tiles = zmm && (state & 0x60000) == 0x60000 && bit(seven.d, 24) && may_use_tiles();
  CpuFeatures f;
  f.avx2 = ymm && bit(seven.b, 5);
  f.fma = ymm && bit(one.c, 12);
  f.f16c = ymm && bit(one.c, 29);
  f.avxvnni = ymm && bit(seven1.a, 4);
  f.avx512f = zmm && bit(seven.b, 16);
  f.avx512dq = zmm && bit(seven.b, 17);
  f.avx512bw = zmm && bit(seven.b, 30);
  f.avx512vl = zmm && bit(seven.b, 31);
  f.avx512vnni = zmm && bit(seven.c, 11);
  f.gfni = zmm && bit(seven.c, 8);
  f.avx512bf16 = zmm && bit(seven1.a, 5);
  f.amx_bf16 = tiles && bit(seven.d, 22);
  f.amx_int8 = tiles && bit(seven.d, 25);
  return f;
}

std::vector<std::string> available_sets(const CpuFeatures& features) {
  std::vector<std::string> names;
  for (const SetEntry& set : kSets) {
    if (set.supported(features)) names.emplace_back(set.name);
  }
  return names;
}

base::Result<Table> make_table(std::string_view isa, const CpuFeatures& features) {
  const std::vector<std::string> have = available_sets(features);
  bool known = isa.empty(), reached = isa.empty();
  Table table;
  for (const SetEntry& set : kSets) {
    if (isa == set.name) {
      known = reached = true;
      if (!set.supported(features)) {
        return base::error(base::Code::kUnsupported,
                           "this processor cannot run the kernel set \"{}\"; it has: {}", isa, joined(have));
      }
    }
    if (!reached || !set.supported(features)) continue;
    KernelSlots lower;
    set.fill(features, lower);
    if (table.name.empty()) table.name = set.name;
    fill_from(table, lower);
  }
  if (!known) {
    return base::error(base::Code::kInvalidArgument, "unknown kernel set \"{}\"; this processor has: {}", isa,
                       joined(have));
  }
  return table;
}

}  // namespace tw::kernels
