// The shape of a tile of bf16 numbers. Everything is internal to the including file.
#pragma once

namespace tw::kernels {
namespace {

constexpr int kRows = 16;         // of a panel, and of a tile
constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes

}  // namespace
}  // namespace tw::kernels
