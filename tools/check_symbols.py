#!/usr/bin/env python3
"""Kernel objects built with flags of their own must export one function each and no weak symbol.

The linker keeps one copy of a weak symbol (an inline function, a template of the standard library) for the
whole program; were it the copy compiled for AVX-512, a machine without it would die in code that has nothing to
do with kernels. usage: check_symbols.py BUILD_DIR | --self-test
Rules: one-function, weak-symbol, exported-data, no-object.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

import checklib

# Lines of nm: names may hold spaces, and a number may be a single letter, such as d.
DEFINED = re.compile(r"^(.*) ([A-Za-z]) [0-9a-f]+ [0-9a-f]*$")
UNDEFINED = re.compile(r"^(.*) ([A-Za-z])\s*$")
EXPORTED_TEXT, EXPORTED_DATA, WEAK = "T", "BDRGSC", "WVwvui"


def isa_objects(build):
    """(source relative to the repository, object file) of each kernel file that is no reference code."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    found = []
    for command in commands:
        if "-DTW_EMULATED" in command["command"]:  # in tests only, and with the flags of AVX2
            continue
        source = os.path.relpath(os.path.join(command["directory"], command["file"]), checklib.ROOT)
        parts = source.split(os.sep)
        if parts[:2] == ["src", "kernels"] and len(parts) == 4 and parts[2] != "ref" \
                and not source.endswith(("_test.cc", "_fuzz.cc")):
            # The key "output" is optional, and CMake leaves it out before 3.26.
            output = command.get("output") or re.search(r" -o (\S+)", command["command"]).group(1)
            found.append((source, os.path.join(command["directory"], output)))
    return sorted(found)


def symbols(objectfile):
    """(type letter, name) as nm prints them, C++ names made readable."""
    run = subprocess.run(["nm", "-C", "--format=posix", objectfile], capture_output=True, text=True, check=True)
    found = []
    for line in run.stdout.splitlines():
        match = DEFINED.match(line) or UNDEFINED.match(line)
        found.append((match.group(2), match.group(1)))
    return found


def judge(source, table):
    functions = [name for kind, name in table if kind in EXPORTED_TEXT]
    violations = [(source, 1, "weak-symbol", f"{name} ({kind})") for kind, name in table if kind in WEAK]
    violations += [(source, 1, "exported-data", name) for kind, name in table if kind in EXPORTED_DATA]
    if len(functions) != 1:
        text = f"exports {len(functions)} functions, wanted one: {', '.join(functions[:5])}"
        violations.append((source, 1, "one-function", text))
    return violations


def check(build):
    violations, objects = [], isa_objects(build)
    for source, objectfile in objects:
        if os.path.exists(objectfile):
            violations += judge(source, symbols(objectfile))
        else:
            violations.append((source, 1, "no-object", f"{objectfile} is not built"))
    return violations, len(objects)


def self_test():
    sources = {
        "good.cc": "namespace { int one(int x) { return x + 1; } int (*table[])(int) = {one}; }\n"
                   "int (**kernels())(int) { return table; }\n",
        "weak.cc": "template <class T> T twice(T x) { return x + x; }\ntemplate int twice<int>(int);\n"
                   "int f(int x) { return twice(x); }\n",
        "two.cc": "int f() { return 1; }\nint g() { return 2; }\n",
        "data.cc": "int shared = 3;\nint f() { return shared; }\n",
    }
    expected = {"good.cc": set(), "weak.cc": {"weak-symbol"}, "two.cc": {"one-function"}, "data.cc": {"exported-data"}}
    compiler = os.environ.get("CXX", "c++")
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            subprocess.run([compiler, "-O1", "-c", path, "-o", path + ".o"], check=True)
            got = {rule for _, _, rule, _ in judge(name, symbols(path + ".o"))}
            if got != expected[name]:
                failures.append(f"{name}: got {sorted(got)}, expected {sorted(expected[name])}")
    print("\n".join(["check_symbols self-test: " + ("failed" if failures else f"{len(sources)} objects judged"), *failures]))
    return 1 if failures else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    violations, checked = check(sys.argv[1])
    return checklib.finish("check_symbols", violations, checked)


if __name__ == "__main__":
    sys.exit(main())
