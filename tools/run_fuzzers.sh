#!/usr/bin/env bash
# Runs every fuzzer of a build for some seconds, two at a time, from the corpora in tests/fuzz/corpus/NAME/.
#
#   tools/run_fuzzers.sh BUILD_DIR [SECONDS] [PATTERN]
#
# New inputs go to BUILD_DIR/corpus/NAME, crashes to BUILD_DIR/crashes. Fails when one crashes or there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: tools/run_fuzzers.sh BUILD_DIR [SECONDS] [PATTERN]}
seconds=${2:-60}
pattern=${3:-}

# 30 s (the sanitizers make it 20 times slower, and the machine may be busy) or 2 GB for one input count as a crash:
# hostile input may not buy time or memory.
run_one() {
  local program=$1 name corpus log
  name=$(basename "$program")
  corpus=tests/fuzz/corpus/${name%_fuzz}
  log=$build/crashes/$name.log
  mkdir -p "$build/corpus/$name" "$build/crashes"
  local folders=("$build/corpus/$name")
  if [[ -d $corpus ]]; then folders+=("$corpus"); fi
  if "$program" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$build/crashes/$name-" "${folders[@]}" >"$log" 2>&1; then
    echo "$name: $(awk -F: '/stat::number_of_executed_units/ {print $NF + 0}' "$log") inputs in $seconds s, no crash"
  else
    echo "$name: FAILED; the input is in $build/crashes/, the log's end:"
    tail -n 40 "$log"
    return 1
  fi
}
export -f run_one
export build seconds

if [[ -z $(find src tests -name '*_fuzz.cc' -print -quit) ]]; then
  echo "there are no fuzzers yet (src/**/*_fuzz.cc)"
  exit 0
fi
mapfile -t programs < <(find "$build/src" "$build/tests" -name '*_fuzz' -type f -executable 2>/dev/null | grep -e "$pattern" | sort)
if ((${#programs[@]} == 0)); then
  echo "no fuzzers in $build: build it with TW_FUZZ=ON" >&2
  exit 1
fi
# shellcheck disable=SC2016  # the inner bash expands it
printf '%s\0' "${programs[@]}" | xargs -0 -n 1 -P 2 bash -c 'run_one "$0"'
