#!/usr/bin/env bash
# run.sh BINARY [MODEL]: starts "BINARY serve MODEL" on a free port, runs the end-to-end tests against it, stops it by
# SIGTERM and checks that it ends with status 0. Exit status 77 (skipped) where node, npm or Chromium is missing.
set -euo pipefail

binary=${1:?usage: run.sh BINARY [MODEL]}
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "$binary")
model=${2:-$folder/../data/models/stories260K.gguf}
log=$(mktemp)
server=

for tool in node npm "${TW_CHROMIUM:-chromium}"; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done

# shellcheck disable=SC2317  # the trap calls it
stop_server() {
  if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null || true; fi
  rm -f "$log"
}
trap stop_server EXIT

free_port() {
  node -e 'const s = require("net").createServer(); s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}

cd "$folder"
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  npm ci --no-audit --no-fund >"$log" 2>&1 || { cat "$log"; echo "skipped: npm cannot install the clients"; exit 77; }
fi

port=$(free_port)
"$binary" serve "$model" --host 127.0.0.1 --port "$port" >"$log" 2>&1 &
server=$!
for ((i = 0; ; ++i)); do
  kill -0 "$server" 2>/dev/null || { echo "the server ended early:"; cat "$log"; exit 1; }
  if curl -fs "http://127.0.0.1:$port/v1/health/ready" >/dev/null; then break; fi
  ((i < 600)) || { echo "the server was not ready after 60 s:"; cat "$log"; exit 1; }
  sleep 0.1
done

status=0
TW_PROGRAM="$program" TW_BASE_URL="http://127.0.0.1:$port" npm run --silent "${TW_SCRIPT:-test}" || status=$?

kill -TERM "$server"
server_status=0
wait "$server" || server_status=$?
server=
if ((server_status != 0)); then
  echo "the server ended with status $server_status after SIGTERM:"
  cat "$log"
  exit 1
fi
if ((status != 0)); then tail -50 "$log"; fi
exit "$status"
