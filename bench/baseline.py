"""Says what moved since the baseline of this processor: baseline.py [--save] < JSON lines of scripts/bench

Baselines are bench/baselines/PROCESSOR.jsonl. --save writes these lines there, beside those of other benchmarks. Without, a
table goes to standard error: what is more than 10 % faster or slower, or new, or gone from the programs that ran.
"""

import json
import os
import re
import sys

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baselines")
MOVED = 0.10


def processor():
    """The model's name and the number of processors, as a file name."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        facts = dict(re.split(r"\s*:\s*", line.strip(), maxsplit=1) for line in file if line.strip().count(":") and line.split(":")[1].strip())
    name = f"{facts.get('model name', 'unknown')} family {facts.get('cpu family')} model {facts.get('model')} x{os.cpu_count()}"
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def read(lines):
    entries = (json.loads(line) for line in lines if line.strip())
    return {(entry["bench"], entry["name"]): entry for entry in entries if entry["value"] is not None}


def higher_is_better(entry):
    return entry["unit"].endswith("/s")


def moves(before, now):
    """(text, name) of each benchmark that moved, of the programs that ran now."""
    programs = {bench for bench, _ in now}
    for key in sorted(before.keys() | now.keys()):
        if key[0] not in programs:
            continue
        if key not in now:
            yield "gone", key[1]
        elif key not in before:
            yield "new", key[1]
        else:
            ratio = now[key]["value"] / before[key]["value"]
            faster = ratio if higher_is_better(now[key]) else 1 / ratio
            if abs(faster - 1) > MOVED:
                yield f"{100 * (faster - 1):+.0f} %", key[1]


def main():
    lines = sys.stdin.read().splitlines()
    print("\n".join(lines))
    path = os.path.join(FOLDER, f"{processor()}.jsonl")
    before = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            before = read(file)
    now = read(lines)
    if "--save" in sys.argv[1:]:
        os.makedirs(FOLDER, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for _, entry in sorted({**before, **now}.items()))
        print(f"baseline: {len(now)} figures saved in {os.path.relpath(path)}", file=sys.stderr)
    elif not before:
        print("baseline: none of this processor yet; make one with scripts/bench --save", file=sys.stderr)
    else:
        found = list(moves(before, now))
        print(f"baseline: {len(found)} of {len(now)} figures moved by more than 10 % (faster is +)", file=sys.stderr)
        for text, name in found:
            print(f"  {text:>7}  {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
