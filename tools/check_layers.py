#!/usr/bin/env python3
"""Holds the includes of src/ to the layers: a folder includes only what is below it (docs/architecture.md).

Rules: layer, forbidden, kernel-isa, base-libraries, no-clock, relative-to-src, not-found, pragma-once, cycle.
"""

import os
import re
import sys

import checklib

# folder: the folders it may include, with all that those may include. base and spec are open to all above them.
LAYERS = {
    "base": [], "spec": ["base"],
    "kernels": [], "comm": [], "text": [], "sched": [], "http": [],
    "tensor": ["kernels"],
    "ops": ["tensor", "comm"], "io": ["tensor", "text"],
    "hub": ["http", "io"], "model": ["ops", "io"],
    "infer": ["model", "sched"], "train": ["model"], "plan": ["model", "sched"],
    "eval": ["infer"], "serve": ["infer", "http", "hub"], "pool": ["plan", "http"],
    "cli": ["serve", "eval", "train", "pool"],
}
OPEN_TO_ALL = ["base", "spec"]
# What the layers would allow but the design does not.
FORBIDDEN = {"serve": {"tensor", "ops", "kernels", "comm"}}
BASE_LIBRARIES = {"fmt", "spdlog", "nlohmann"}
# Besides, headers of constants, of declarations, or of templates that stay internal to the file: none of these leaves
# code compiled with a set's flags where another file could pick it up. SIMDe imitates instructions, for tests.
ISA_INCLUDES = {"<immintrin.h>", "<cstdint>", '"kernels/args.h"', '"kernels/panels.h"', '"kernels/pack.h"',
                '"kernels/panel_bits.h"', '"kernels/panel_matmul.h"', '"kernels/panel_prepare.h"', '"kernels/piece_attention.h"',
                '"kernels/palette_matmul.h"', '"kernels/philox_lanes.h"', '"kernels/repeat.h"', '"kernels/train_attention.h"',
                '"kernels/train_dropout.h"', '"kernels/train_rows.h"', '"kernels/float_product.h"', '"kernels/layer_rows.h"'}
ISA_LIBRARY = "<simde/"
NOT_ISA = {"kernels/ref"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(<[^>\n]+>|"[^"\n]+")', re.M)


def reachable(folder):
    if folder == "base":
        return {"base"}
    seen, queue = {folder, *OPEN_TO_ALL}, [folder]
    while queue:
        for below in LAYERS[queue.pop()]:
            if below not in seen:
                seen.add(below)
                queue.append(below)
    return seen


def is_isa_file(path):
    """path: relative to src/. One of a kernel set's files, which may be compiled with flags of its own."""
    folder = os.path.dirname(path)
    return folder.startswith("kernels/") and folder not in NOT_ISA and not path.endswith("_test.cc")


def check_isa(path, target, isa_headers):
    """A header of src/kernels that is itself held to this rule (it is only ever included by such files) is fine."""
    if target in ISA_INCLUDES or target.strip('"') in isa_headers or target.startswith(ISA_LIBRARY):
        return None
    return ("kernel-isa", f"{target}: a kernel file includes only <immintrin.h>, <cstdint>, kernels/args.h and what "
            "ISA_INCLUDES lists (tools/check_layers.py)")


def check_own(root, folder, target):
    inner = target[1:-1]
    top = inner.split("/")[0]
    if target[0] == "<":
        if top in LAYERS and "/" in inner:
            return ("relative-to-src", f'{target}: our own headers are included with "..."')
        return None
    if "/" not in inner or top not in LAYERS:
        return ("relative-to-src", f"{target}: write the path from src/, such as \"base/result.h\"")
    if top not in reachable(folder):
        return ("layer", f"{folder} may not include {top} ({target})")
    if top in FORBIDDEN.get(folder, ()):
        return ("forbidden", f"{folder} never sees {top} ({target})")
    if not os.path.exists(os.path.join(root, "src", inner)):
        return ("not-found", f"{target}: no such file in src/")
    return None


def check_outside(folder, path, target):
    inner = target[1:-1]
    is_test = path.endswith(("_test.cc", "_fuzz.cc"))
    if folder == "base" and "/" in inner and not is_test:
        top = inner.split("/")[0]
        if top not in BASE_LIBRARIES | set(LAYERS) | {"sys"}:
            return ("base-libraries", f"{target}: base uses only std, fmt, spdlog and nlohmann-json")
    if folder == "sched" and inner == "chrono" and not is_test:
        return ("no-clock", f"{target}: sched is pure policy, times come in as arguments")
    return None


def find_cycles(graph):
    """graph: {file: [(line, file)]}. One violation for each edge that closes a cycle."""
    state, violations = {}, []

    def visit(start):
        stack = [(start, iter(graph[start]))]
        state[start] = "open"
        while stack:
            node, edges = stack[-1]
            for line, target in edges:
                if target not in graph:
                    continue
                if state.get(target) == "open":
                    violations.append((f"src/{node}", line, "cycle", f"{target} includes this file in turn"))
                elif target not in state:
                    state[target] = "open"
                    stack.append((target, iter(graph[target])))
                    break
            else:
                state[node] = "done"
                stack.pop()

    for node in sorted(graph):
        if node not in state:
            visit(node)
    return violations


def includes_of(text):
    """(line, target) of each include; strings and comments that look like one are rare enough to be seen."""
    return [(checklib.line_of(text, match.start(1)), match.group(1)) for match in INCLUDE.finditer(text)]


def check_file(root, path, includes, isa_headers):
    folder = path.split("/")[0]
    found = []
    for line, target in includes:
        problems = [check_own(root, folder, target), check_outside(folder, path, target)]
        if is_isa_file(path):
            problems.append(check_isa(path, target, isa_headers))
        found += [(f"src/{path}", line, *problem) for problem in problems if problem]
    return found


def check(root):
    violations, graph = [], {}
    files = [p[len("src/"):] for p in checklib.source_files(root, ["src"])]
    isa_headers = {p for p in files if p.endswith(".h") and is_isa_file(p)}
    for path in files:
        folder = path.split("/")[0]
        text = checklib.read(root, f"src/{path}")
        if folder not in LAYERS:
            violations.append((f"src/{path}", 1, "layer", f"folder '{folder}' is in no layer (tools/check_layers.py)"))
            continue
        if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.M):
            violations.append((f"src/{path}", 1, "pragma-once", "a header starts with #pragma once"))
        includes = includes_of(text)
        graph[path] = [(line, target[1:-1]) for line, target in includes if target[0] == '"']
        violations += check_file(root, path, includes, isa_headers)
    return violations + find_cycles(graph), len(files)


def self_test():
    ok = "#pragma once\n"
    files = {
        "src/base/a.h": ok + "#include <fmt/format.h>\n#include <sys/stat.h>\n",
        "src/base/up.h": ok + '#include "spec/c.h"\n',
        "src/base/boost.h": ok + "#include <boost/asio.hpp>\n",
        "src/spec/c.h": ok + '#include "base/a.h"\n',
        "src/text/sibling.cc": '#include "sched/s.h"\n',
        "src/sched/s.h": ok + '#include "spec/c.h"\n',
        "src/sched/clock.cc": "#include <chrono>\n",
        "src/serve/t.cc": '#include "tensor/t.h"\n#include "infer/none.h"\n',
        "src/tensor/t.h": ok,
        "src/io/angle.cc": "#include <base/a.h>\n",
        "src/io/near.cc": '#include "near.h"\n',
        "src/io/guard.h": "#ifndef X\n#define X\n#endif\n",
        "src/ops/x.h": ok + '#include "ops/y.h"\n',
        "src/ops/y.h": ok + '#include "ops/x.h"\n',
        "src/kernels/args.h": ok + "#include <cstdint>\n",
        "src/kernels/ref/r.cc": '#include <vector>\n#include "kernels/args.h"\n',
        "src/kernels/avx2/a.cc": '#include <immintrin.h>\n#include "kernels/args.h"\n#include <algorithm>\n',
        "src/kernels/panel_matmul.h": ok,
        "src/kernels/table.h": ok,
        "src/kernels/avx512/own.h": ok + "#include <simde/x86/avx512.h>\n",
        "src/kernels/avx512/b.cc": '#include "kernels/avx512/own.h"\n#include "kernels/panel_matmul.h"\n',
        "src/kernels/avx512/c.cc": '#include "kernels/table.h"\n',
        "src/nowhere/n.cc": "",
        "src/cli/main.cc": '#include "serve/s.h"\n#include "tensor/t.h"\n',
        "src/serve/s.h": ok,
    }
    expected = [
        ("src/base/up.h", "layer"), ("src/base/boost.h", "base-libraries"), ("src/text/sibling.cc", "layer"),
        ("src/sched/clock.cc", "no-clock"), ("src/serve/t.cc", "forbidden"), ("src/serve/t.cc", "not-found"),
        ("src/io/angle.cc", "relative-to-src"), ("src/io/near.cc", "relative-to-src"),
        ("src/io/guard.h", "pragma-once"), ("src/ops/y.h", "cycle"), ("src/kernels/avx2/a.cc", "kernel-isa"),
        ("src/kernels/avx512/c.cc", "kernel-isa"),
        ("src/nowhere/n.cc", "layer"),
    ]
    return checklib.expect_rules("check_layers", files, check, expected)


if __name__ == "__main__":
    sys.exit(checklib.main("check_layers", check, self_test))
