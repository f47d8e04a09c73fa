#!/usr/bin/env python3
"""Each header of src/ compiles alone, so that an include never depends on the ones before it. Rule: alone.

usage: check_headers.py [--self-test]     CXX names the compiler (default clang++-19, else c++)
A header that some .cc file includes before all else is left out: that file's own compilation shows it (in the builds
without precompiled headers: release, debug and clang).
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

import checklib

FIRST_INCLUDE = re.compile(r'\A[^#]*#[ \t]*include[ \t]*"([^"]+)"')
ISA_FLAGS = {"avx2": ["-mavx2", "-mfma", "-mf16c"], "avx512": ["-march=skylake-avx512"]}


def compiler():
    return os.environ.get("CXX") or ("clang++-19" if shutil.which("clang++-19") else "c++")


def flags_of(path):
    folder = path.split("/")[2] if path.startswith("src/kernels/") and path.count("/") > 2 else ""
    return ISA_FLAGS.get(re.sub(r"(vnni|bf16)$", "", folder), ["-march=sapphirerapids"] if folder == "amx" else [])


def compile_alone(root, path):
    """None, or (line, text) of the first error."""
    inner = path[len("src/"):]
    run = subprocess.run(
        [compiler(), "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", f"-I{root}/src",
         '-DTW_SOURCE_DIR=""', '-DTW_BINARY_DIR=""', *flags_of(path), "-x", "c++", "-"],
        input=f'#include "{inner}"\n', capture_output=True, text=True)
    if run.returncode == 0:
        return None
    error = re.search(r"(?:error|fatal error): (.*)", run.stderr)
    line = re.search(re.escape(inner) + r":(\d+)", run.stderr)
    return int(line.group(1)) if line else 1, error.group(1) if error else run.stderr[-200:]


def included_first(root):
    """The headers that are the first include of a .cc file."""
    first = (FIRST_INCLUDE.search(checklib.read(root, path)) for path in checklib.source_files(root, ["src"], (".cc",)))
    return {f"src/{match.group(1)}" for match in first if match}


def check(root):
    covered = included_first(root)
    headers = [path for path in checklib.source_files(root, ["src"], (".h",)) if path not in covered]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(lambda path: compile_alone(root, path), headers))
    return [(p, r[0], "alone", r[1]) for p, r in zip(headers, results) if r], len(headers)


def self_test():
    files = {
        "src/base/good.h": "#pragma once\n#include <string>\nstd::string f();\n",
        "src/base/bad.h": "#pragma once\nstd::string f();\n",
        "src/base/bad.cc": '#include <string>\n#include "base/bad.h"\n',  # comes second, so it shows nothing
        "src/base/own.h": "#pragma once\nstd::string g();\n",
        "src/base/own.cc": '// its own\n#include "base/own.h"\n#include <string>\n',  # would not compile itself
    }
    return checklib.expect_rules("check_headers", files, check, [("src/base/bad.h", "alone")])


if __name__ == "__main__":
    sys.exit(checklib.main("check_headers", check, self_test))
