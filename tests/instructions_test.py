#!/usr/bin/env python3
"""Instructions that a token costs, counted by callgrind, against what they were: where wall time is too noisy to see a
regression, counts are not. Baselines in tests/golden/instructions.json.

usage: instructions_test.py PROGRAM [--update]     --update writes the baselines anew
A change that is meant to cost more says so by new baselines; one that costs less should set them too.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BASELINES = HERE / "golden/instructions.json"
MODELS = {"F32": HERE / "data/models/stories260K.gguf", "Q8_0": HERE / "golden/families/mistral-Q8_0.gguf"}
ISA = "avx2"  # callgrind knows no AVX-512
TOLERANCE = 0.05  # the threads' meetings move counts by about 1 %
RUNS = 2  # bench: a warm-up and one that counts


def count(program, model, prompt, generate):
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, "bench", str(model), "-p", str(prompt),
         "-n", str(generate), "-r", "1", "--no-ceilings", "--threads", "1", "--isa", ISA, "--json"],
        capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not collected:
        sys.exit(f"callgrind of {program} failed:\n{run.stderr[-2000:]}")
    return int(collected.group(1))


def measure(program):
    result = {}
    for name, model in MODELS.items():
        base = count(program, model, 8, 8)
        result[f"{ISA} {name} generated token"] = (count(program, model, 8, 72) - base) // (64 * RUNS)
        result[f"{ISA} {name} prompt token"] = (count(program, model, 104, 8) - base) // (96 * RUNS)
    return result


def main():
    if not shutil.which("valgrind"):
        print("valgrind is not installed: skipped")
        return 77
    measured = measure(sys.argv[1])
    if sys.argv[2:] == ["--update"]:
        BASELINES.write_text(json.dumps(measured, indent=1) + "\n")
        return 0
    status = 0
    for name, before in json.loads(BASELINES.read_text()).items():
        ratio = measured[name] / before
        wrong = abs(ratio - 1) > TOLERANCE
        status |= wrong
        print(f"{name:30} {before:12,} -> {measured[name]:12,} instructions  {100 * (ratio - 1):+6.1f} %{'  <- beyond 5 %' if wrong else ''}")
    if status:
        print("If that is meant: python3 tests/instructions_test.py build/tokenworks --update, and say why in the commit.")
    return status


if __name__ == "__main__":
    sys.exit(main())
