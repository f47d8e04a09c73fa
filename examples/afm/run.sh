#!/bin/sh
# Apple's on-device recipe (arXiv 2407.21075) at a toy's size: pre-training in three stages, pruning of the
# feed-forward layers, distillation, palettes of 3.5 bits and an adapter that learns back what they lose. Ends
# with a table of perplexities on text that none of them has seen.
#
#   examples/afm/run.sh [FOLDER]     works in FOLDER (afm-run); minutes. TOKENWORKS names the program.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${TOKENWORKS:-$here/../../build/tokenworks}
text=$here/../../tests/data/text/tinyshakespeare.txt
work=${1:-afm-run}
[ -x "$program" ] || { echo "$program is not there: run scripts/up --no-serve first, or set TOKENWORKS" >&2; exit 1; }
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
mkdir -p "$work/text"
cp "$here"/*.json "$work/"
cd "$work"

# The last tenth is for the table alone.
bytes=$(wc -c < "$text")
head -c $((bytes * 9 / 10)) "$text" > text/train.txt
tail -c $((bytes / 10)) "$text" > unseen.txt

for recipe in base pruned pruned-soft pruned-text scratch scratch-distilled; do
  echo "== $recipe" >&2
  "$program" train "$recipe.json"
done
"$program" quantize pruned palettized --type palette --bits 3.5 --calibration text/train.txt
echo "== recovery" >&2
"$program" train recovery.json

perplexity() {
  "$program" eval "$@" --text unseen.txt --ctx 256 | sed -n 's/.*perplexity \([0-9.]*\) +- \([0-9.]*\) .*/\1 +- \2/p'
}
row() {
  name=$1; shift
  printf '%-46s %s\n' "$name" "$(perplexity "$@")"
}
echo
printf '%-46s %s\n' "model" "perplexity of unseen.txt"
row "base: the teacher" base
row "pruned, 100 steps, and distilled, 200" pruned
row "the same from all of the teacher's logits" pruned-soft
row "pruned, 100 steps, then text alone, 200" pruned-text
row "from nothing, 300 steps" scratch
row "from nothing with the teacher, 300 steps" scratch-distilled
row "pruned, in palettes of 3.5 bits" palettized
row "the same with the recovery adapter" palettized --lora recovery
