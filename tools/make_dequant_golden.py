#!/usr/bin/env python3
"""Makes tests/golden/dequant: what the Python package gguf (its numpy code is the format's public reference) makes of
weight blocks and of rows to encode, and what numpy makes of 16-bit floats.

  tools/make_dequant_golden.py tests/golden/dequant

Needs numpy and gguf (pip install gguf). Deterministic; the files are described in the README there.
"""
import json
import pathlib
import sys

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

# Type: number of blocks, and where its fp16 scales lie in a block.
TYPES = {"Q4_0": (48, [0]), "Q4_1": (48, [0, 2]), "Q5_0": (48, [0]), "Q5_1": (48, [0, 2]), "Q8_0": (48, [0]),
         "Q2_K": (16, [80, 82]), "Q3_K": (16, [108]), "Q4_K": (16, [0, 2]), "Q5_K": (16, [0, 2]), "Q6_K": (16, [208])}
# 1, -1, the largest, the smallest normal, the largest and the smallest subnormal, zero, minus zero, infinity, NaN
SCALES = [0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x0400, 0x03FF, 0x0001, 0x0000, 0x8000, 0x7C00, 0x7E00]
ENCODED = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]


def make_blocks(rng, name):
    """Random bytes; the scales of the first blocks are extreme, those of the others ordinary or random bits."""
    count, scale_at = TYPES[name]
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for row in range(count):
        for k, at in enumerate(scale_at):
            if row < len(SCALES):
                scale = SCALES[(row + 3 * k) % len(SCALES)]
            elif row % 4 == 0:
                continue
            else:
                scale = int(np.float16(rng.normal() * 0.02).view(np.uint16))
            blocks[row, at:at + 2] = [scale & 255, scale >> 8]
    return blocks


def make_rows(rng):
    """Rows of 32 to encode: ordinary, all zero, constant, one-sided, tiny, large, and exact ties."""
    rows = rng.normal(size=(40, 32)).astype(np.float32)
    rows[0] = 0
    rows[1] = 0.25
    rows[2] = -np.abs(rows[2])
    rows[3] *= 1e-6
    rows[4] *= 1e4
    rows[5] = np.arange(32) - 16
    rows[6] = (np.arange(32) - 15.5) * 127 / 16.5
    rows[7] = np.where(np.arange(32) % 2 == 0, 1, -1)
    rows[8] *= 1e-30
    return rows


def weighted_sum(values):
    """Position-weighted sum modulo 2^64, so that one number stands for a long list."""
    weights = np.arange(values.size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return int(np.sum(values.astype(np.uint64) * weights, dtype=np.uint64))


def half_inputs():
    """fp32 values around every rounding border of fp16: each half, each midpoint, and the midpoints' neighbours."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    following = np.append(halves[1:], np.float32(65536))
    middle = ((halves + following) / 2).astype(np.float32)
    bits = middle.view(np.uint32)
    near = np.stack([halves.view(np.uint32), bits - 1, bits, bits + 1], axis=1).ravel()
    pattern = (np.arange(1 << 20, dtype=np.uint64) * 2654435761 % (1 << 32)).astype(np.uint32)
    return np.concatenate([near, near | 0x80000000, pattern])


def float16_sums():
    all_halves = np.arange(65536, dtype=np.uint16)
    to_float = all_halves.view(np.float16).astype(np.float32).view(np.uint32)
    inputs = half_inputs()
    with np.errstate(all="ignore"):
        from_float = inputs.view(np.float32).astype(np.float16).view(np.uint16)
    # numpy keeps a signalling NaN, F16C quiets it, as we do; how much of a payload fits into a half is left open.
    to_float = np.where(to_float & 0x7FFFFFFF > 0x7F800000, to_float | 0x00400000, to_float)
    from_float = np.where(from_float & 0x7FFF > 0x7C00, from_float & 0x8000 | 0x7E00, from_float)
    bfloat = quantize(inputs.view(np.float32).reshape(1, -1), gguf.GGMLQuantizationType.BF16).view(np.uint16).ravel()
    return {"inputs": weighted_sum(inputs), "half_to_float": weighted_sum(to_float),
            "float_to_half": weighted_sum(from_float), "float_to_bfloat16": weighted_sum(bfloat)}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20260101)
    with np.errstate(all="ignore"):
        for name in TYPES:
            blocks = make_blocks(rng, name)
            values = dequantize(blocks, gguf.GGMLQuantizationType[name]).astype("<f4")
            blocks.tofile(folder / f"{name}.blocks")
            values.tofile(folder / f"{name}.f32")
        rows = make_rows(rng)
        rows.astype("<f4").tofile(folder / "rows.f32")
        for name in ENCODED:
            encoded = quantize(rows, gguf.GGMLQuantizationType[name])
            np.ascontiguousarray(encoded).view(np.uint8).tofile(folder / f"rows.{name}")
    (folder / "float16.json").write_text(json.dumps(float16_sums(), indent=1) + "\n")


if __name__ == "__main__":
    main()
