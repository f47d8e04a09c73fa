#!/usr/bin/env bash
# The bash completion against the real program:  packaging/completions_test.sh PROGRAM
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")"
# shellcheck source=packaging/completions/tokenworks.bash
source completions/tokenworks.bash
status=0

# expect WORD... : WANTED...    completes the last word and wants each of the wanted among the answers
expect() {
  COMP_WORDS=("$program")
  while [[ $1 != : ]]; do COMP_WORDS+=("$1") && shift; done
  shift
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _tokenworks
  local wanted
  for wanted in "$@"; do
    if [[ " ${COMPREPLY[*]} " != *" $wanted "* ]]; then
      echo "'${COMP_WORDS[*]:1}' completes to '${COMPREPLY[*]}', without '$wanted'"
      status=1
    fi
  done
}

expect '' : serve run pull list rm inspect tokenize info bench train eval quantize plan
expect se : serve
expect serve -- : --port --host --ctx --kv-memory --max-queue --threads --api-key-file
expect serve --po : --port
expect serve --host 127 : 127.0.0.1
expect serve --isa a : avx2 avx512 amx
expect bench -- : --json --threads
expect train -- : --data --minutes --resume --dry-run --schedule-peak
expect train --tokenizer-kind c : characters
expect eval -- : --text --tasks --shots --second-half --json --kv-type
expect plan '' : estimate search network claims catalog validate
expect plan network -- : --topology --nodes --switch-power --json
expect plan network --topology r : rail
expect pull '' : hf: pip:
# Every verb that the program's help lists is one that the completion knows.
for verb in $("$program" --help | awk '/^ +[a-z]+  / {print $1}'); do
  if [[ " $_tokenworks_verbs " != *" $verb "* ]]; then
    echo "the completion lacks the verb '$verb'"
    status=1
  fi
done
if ((status == 0)); then echo "completions: as wanted"; fi
exit "$status"
