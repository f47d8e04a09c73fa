# Shared by the scripts of this folder: source it, do not run it. It moves to the root of the repository.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# How many compilers at once: one a core that this process may use, but 1.5 GB of memory for each.
jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 1572864)}' /proc/meminfo)
  if ((memory < 1)); then memory=1; fi
  echo $((cores < memory ? cores : memory))
}

# Whether a script of this folder made the build folder, for this place.
configured() { [[ -f $1/build.ninja && -f $1/.tokenworks-configured && $(<"$1/.tokenworks-configured") == "$ROOT "* ]]; }

# What ccache must overlook to keep objects made with precompiled headers.
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}

# configure PRESET DIR [cmake arguments]: makes the build folder, or keeps the one that is there and current.
# ninja runs cmake again by itself when a CMakeLists.txt changed.
configure() {
  local preset=$1 dir=$2
  shift 2
  local stamp="$dir/.tokenworks-configured" wanted
  wanted="$ROOT $preset $* $(cksum <CMakePresets.json)"
  if [[ -f $dir/build.ninja && -f $stamp && $(<"$stamp") == "$wanted" ]]; then return 0; fi
  if [[ -f $dir/CMakeCache.txt ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT" "$dir/CMakeCache.txt"; then
    say "$dir was made for another folder: configuring it afresh"
    rm -f "$dir/CMakeCache.txt"
  fi
  if command -v ccache >/dev/null; then set -- -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@"; fi
  say "configuring $dir (preset $preset)"
  cmake --preset "$preset" "$@"
  printf '%s' "$wanted" >"$stamp"
}

build() { ninja -C "$1" -j "$(jobs)" "${@:2}"; }
