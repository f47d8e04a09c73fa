#!/usr/bin/env bash
# Our C++ as clang-format 19 would write it, and our scripts without a word from shellcheck. --fix rewrites the C++.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(find src tests bench tools \( -name node_modules -o -name 'build*' \) -prune -o \( -name '*.cc' -o -name '*.h' \) -print | sort)
if [[ ${1:-} == --fix ]]; then
  clang-format-19 -i "${sources[@]}"
  exit 0
fi
status=0
clang-format-19 --dry-run -Werror "${sources[@]}" || status=1
mapfile -t scripts < <(grep -lE '^#!.*\b(bash|sh)$|^# shellcheck shell=' -r scripts tools tests bench packaging .ci --include='*' -I --exclude-dir=node_modules)
shellcheck -x "${scripts[@]}" || status=1
echo "format: ${#sources[@]} C++ files, ${#scripts[@]} scripts"
exit $status
