#include "kernels/pack.h"

#include <cstring>

#include "base/dtype.h"
#include "kernels/panels.h"
#include "kernels/ref/float16.h"

namespace tw::kernels {
namespace {

using Bytes = const std::uint8_t*;

/// 32 values of a row as stored: the numbers, and the scales they go with (see panels.h). fp16 stays as bits.
struct Block {
  std::uint8_t q[kPanelBlock];
  std::uint16_t d, m;       ///< d and m, or d and dmin of the super-block
  std::uint8_t s[2], n[2];  ///< super types: of each 16 values, or [0] alone
};

std::uint16_t half_at(Bytes p) {
  std::uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return bits;
}

void nibbles(Bytes p, std::uint8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = p[i] & 15;
    q[i + 16] = p[i] >> 4;
  }
}

void fifth_bits(Bytes p, std::uint8_t* q) {
  for (int i = 0; i < 32; ++i) q[i] |= static_cast<std::uint8_t>((p[i / 8] >> (i % 8) & 1) << 4);
}

/// 6-bit scale and minimum of group g of 8 (Q4_K, Q5_K).
void six_bit_pair(Bytes p, int g, Block& b) {
  b.s[0] = g < 4 ? p[g] & 63 : (p[g + 4] & 15) | p[g - 4] >> 6 << 4;
  b.n[0] = g < 4 ? p[g + 4] & 63 : p[g + 4] >> 4 | p[g] >> 6 << 4;
}

/// 6-bit scale of group g of 16, less 32 (Q3_K).
std::uint8_t scale_q3(Bytes p, int g) {
  const int low = g < 8 ? p[g] & 15 : p[g - 8] >> 4;
  return static_cast<std::uint8_t>((low | (p[8 + g % 4] >> (g / 4 * 2) & 3) << 4) - 32);
}

/// Two bits of each of the 32 values of block j (of 8) of a Q2_K or Q3_K super-block.
void two_bits(Bytes p, int j, std::uint8_t* q) {
  for (int r = 0; r < 32; ++r) q[r] = p[j / 4 * 32 + r] >> (j % 4 * 2) & 3;
}

void decode_plain(DType type, Bytes p, Block& b) {
  b.d = half_at(p);
  switch (type) {
    case DType::kQ4_0:
      return nibbles(p + 2, b.q);
    case DType::kQ4_1:
      b.m = half_at(p + 2);
      return nibbles(p + 4, b.q);
    case DType::kQ5_0:
      nibbles(p + 6, b.q);
      return fifth_bits(p + 2, b.q);
    case DType::kQ5_1:
      b.m = half_at(p + 2);
      nibbles(p + 8, b.q);
      return fifth_bits(p + 4, b.q);
    default:
      std::memcpy(b.q, p + 2, 32);  // Q8_0
  }
}

void decode_q6(Bytes p, int j, Block& b) {
  for (int r = 0; r < 32; ++r) {
    const int low = p[j / 4 * 64 + j % 2 * 32 + r] >> (j % 4 / 2 * 4) & 15;
    const int high = p[128 + j / 4 * 32 + r] >> (j % 4 * 2) & 3;
    b.q[r] = static_cast<std::uint8_t>(low | high << 4);
  }
  b.s[0] = p[192 + 2 * j];
  b.s[1] = p[193 + 2 * j];
  b.d = half_at(p + 208);
}

/// Block j of the eight of a super-block.
void decode_super(DType type, Bytes p, int j, Block& b) {
  switch (type) {
    case DType::kQ2_K:
      two_bits(p + 16, j, b.q);
      for (int h = 0; h < 2; ++h) {
        b.s[h] = p[2 * j + h] & 15;
        b.n[h] = p[2 * j + h] >> 4;
      }
      b.d = half_at(p + 80);
      b.m = half_at(p + 82);
      return;
    case DType::kQ3_K:
      two_bits(p + 32, j, b.q);
      for (int r = 0; r < 32; ++r) b.q[r] |= static_cast<std::uint8_t>((p[r] >> j & 1) << 2);
      for (int h = 0; h < 2; ++h) b.s[h] = scale_q3(p + 96, 2 * j + h);
      b.d = half_at(p + 108);
      return;
    case DType::kQ4_K:
    case DType::kQ5_K: {
      Bytes low = p + (type == DType::kQ4_K ? 16 : 48) + j / 2 * 32;
      for (int r = 0; r < 32; ++r) b.q[r] = low[r] >> (j % 2 * 4) & 15;
      if (type == DType::kQ5_K) {
        for (int r = 0; r < 32; ++r) b.q[r] |= static_cast<std::uint8_t>((p[16 + r] >> j & 1) << 4);
      }
      six_bit_pair(p + 4, j, b);
      b.d = half_at(p);
      b.m = half_at(p + 2);
      return;
    }
    default:
      decode_q6(p, j, b);
  }
}

/// The scales of lane `r` of a panel's block: its place among R rows.
template <int R>
void write_scales(const PanelFormat& f, const Block& b, int r, std::uint8_t* header, std::uint8_t* scales) {
  if (f.super) {
    std::memcpy(header + 2 * r, &b.d, 2);
    if (f.minimums) std::memcpy(header + 2 * (R + r), &b.m, 2);
    const int parts = f.halves ? 2 : 1;
    for (int h = 0; h < parts; ++h) {
      scales[h * R + r] = b.s[h];
      if (f.minimums) scales[(parts + h) * R + r] = b.n[h];
    }
  } else {
    std::memcpy(scales + 2 * r, &b.d, 2);
    if (f.minimums) std::memcpy(scales + 2 * (R + r), &b.m, 2);
  }
}

/// Lane r of a plane: of each of the 32 numbers kBits bits, from bit `from` on.
template <int R, int kBits>
void write_plane(const std::uint8_t* q, int from, int r, std::uint8_t* plane) {
  for (int v = 0; v < kBits; ++v) {
    for (int i = 0; i < 4; ++i) {
      int byte = 0;
      for (int at = 0; at < 8; at += kBits) byte |= (q[4 * (at + v) + i] >> from & ((1 << kBits) - 1)) << at;
      plane[(v * R + r) * 4 + i] = static_cast<std::uint8_t>(byte);
    }
  }
}

/// Lane r of a block's weights.
template <int R>
void write_numbers(int bits, const std::uint8_t* q, int r, std::uint8_t* weights) {
  const int low = low_plane_bits(bits);
  if (low == 8)
    write_plane<R, 8>(q, 0, r, weights);
  else if (low == 4)
    write_plane<R, 4>(q, 0, r, weights);
  else
    write_plane<R, 2>(q, 0, r, weights);
  std::uint8_t* const high = weights + low * R * 4;
  if (bits - low == 2)
    write_plane<R, 2>(q, low, r, high);
  else if (bits - low == 1)
    write_plane<R, 1>(q, low, r, high);
}

template <int R>
void pack_panel(const PackArgs& a, std::int64_t first_row, std::uint8_t* out) {
  const PanelFormat f = panel_format(a.type);
  const base::DTypeInfo& info = base::dtype_info(a.type);
  const std::size_t row_bytes = base::row_bytes(a.type, a.k);
  const std::int64_t header_bytes = panel_header_bytes(f, R), scale_bytes = panel_scale_bytes(f, R);
  std::uint8_t* header = out;
  for (std::int64_t block = 0; block < a.k / kPanelBlock; ++block) {
    if (f.super && block % 8 == 0) {
      header = out;
      out += header_bytes;
    }
    for (int r = 0; r < R; ++r) {
      Block b{};  // rows past N: all zero
      if (first_row + r < a.n) {
        Bytes row = static_cast<Bytes>(a.source) + (first_row + r) * row_bytes;
        if (f.super)
          decode_super(a.type, row + block / 8 * info.block_bytes, static_cast<int>(block % 8), b);
        else
          decode_plain(a.type, row + block * info.block_bytes, b);
      }
      write_scales<R>(f, b, r, header, out);
      write_numbers<R>(f.bits, b.q, r, out + scale_bytes);
    }
    out += scale_bytes + panel_weight_bytes(f, R);
  }
}

/// The panel of palettized rows from `first_row` on, which share a table.
template <int R>
void pack_palette(const PackArgs& a, std::int64_t first_row, std::uint8_t* out) {
  const int bits = base::palette_bits(a.type), each = 32 / bits, entries = 1 << bits;
  Bytes palette = static_cast<Bytes>(a.palettes) + first_row / base::kPaletteRows * entries * 2;
  for (int i = 0; i < 16; ++i) {
    const float entry = half_to_float(half_at(palette + i % entries * 2));
    std::memcpy(out + 4 * i, &entry, sizeof entry);
  }
  out += kPaletteTable;
  const std::size_t row_bytes = base::row_bytes(a.type, a.k);
  for (std::int64_t block = 0; block < a.k; block += kPanelBlock, out += R * (kPanelBlock / 8 * bits)) {
    for (int r = 0; r < R; ++r) {
      std::uint32_t numbers[4] = {};  // rows past N and columns past K: all zero
      for (int code = 0; code < kPanelBlock && first_row + r < a.n; ++code) {
        const std::int64_t k = block + palette_column(bits, code), bit = k * bits;
        if (k >= a.k) continue;
        Bytes row = static_cast<Bytes>(a.source) + (first_row + r) * row_bytes;
        const std::uint32_t value = row[bit / 8] >> (bit % 8) & (entries - 1);
        numbers[code / each] |= value << (code % each * bits);
      }
      for (int j = 0; j < bits; ++j) std::memcpy(out + (j * R + r) * 4, &numbers[j], 4);
    }
  }
}

/// Bytes of a panel.
template <int R>
std::int64_t bytes_of(DType type, std::int64_t k) {
  const int bits = base::palette_bits(type);
  return bits > 0 ? palette_panel_bytes(bits, R, k) : panel_bytes(panel_format(type), R, k);
}

template <int R>
std::int64_t packed_bytes(DType type, std::int64_t n, std::int64_t k) {
  return (n + R - 1) / R * bytes_of<R>(type, k);
}

template <int R>
void pack(const PackArgs& a) {
  const std::int64_t bytes = bytes_of<R>(a.type, a.k);
  for (std::int64_t row = a.row_begin; row < a.row_end; row += R) {
    std::uint8_t* out = static_cast<std::uint8_t*>(a.packed) + row / R * bytes;
    if (base::palette_bits(a.type) > 0)
      pack_palette<R>(a, row, out);
    else
      pack_panel<R>(a, row, out);
  }
}

}  // namespace

std::int64_t packed_bytes_8(DType type, std::int64_t n, std::int64_t k) {
  return packed_bytes<8>(type, n, k);
}
std::int64_t packed_bytes_16(DType type, std::int64_t n, std::int64_t k) {
  return packed_bytes<16>(type, n, k);
}
void pack_8(const PackArgs& args) {
  pack<8>(args);
}
void pack_16(const PackArgs& args) {
  pack<16>(args);
}
std::int64_t prepared_rows_bytes(std::int64_t rows, std::int64_t k) {
  return rows * activation_row_bytes(k);
}

}  // namespace tw::kernels
