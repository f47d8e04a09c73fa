#!/usr/bin/env python3
"""Keeps files and functions small: files 500 lines (kernels 800), functions 60 lines (kernels 150).

A longer one needs a line in tools/size_exceptions.txt:  PATH[:FUNCTION]  REASON
Rules: file-size, function-size, stale-exception. Prints the ten largest files and functions.
"""

import os
import re
import sys

import checklib

LIMITS = {"file": 500, "function": 60}
KERNEL_LIMITS = {"file": 800, "function": 150}
EXCEPTIONS = "tools/size_exceptions.txt"
CXX_FOLDERS = ["src", "tests", "bench", "tools"]
OTHER_SUFFIXES = (".py", ".sh", ".cmake", ".html", ".js", ".css")

TYPE_HEAD = re.compile(r"\b(class|struct|union|enum|namespace)\b(?!.*\)\s*(const|noexcept|override|\s)*$)|extern\s*\"\"", re.S)
INITIALIZERS = re.compile(r"\)\s*(noexcept\s*(\([^)]*\))?\s*)?:(?!:)")
LEADING = re.compile(r"(\s|\b(public|private|protected)\s*:(?!:))*")
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)


def limits_for(path):
    return KERNEL_LIMITS if path.startswith("src/kernels/") else LIMITS


def kind_of(head):
    """What a `{` opens at namespace or class scope, judged by the text before it."""
    head = head.strip()
    if INITIALIZERS.search(head) and head and (head[-1].isalnum() or head[-1] in "_>"):
        return "initializer"  # `a_{1}` among a constructor's member initializers
    if TYPE_HEAD.search(head) and not re.search(r"\)\s*$", head):
        return "scope"
    if "(" in head and not re.search(r"=\s*$|\b(return|alignas)\b[^)]*$", head):
        return "function"
    return "other"


def name_of(head):
    """The name before the first parenthesis; a test macro is named with its arguments."""
    match = re.search(r"([~\w:<>]*operator\s*[^\s(]+|[~\w:]+)\s*\(", head)
    if not match:
        return "?"
    name = match.group(1)
    if re.fullmatch(r"(TYPED_)?TEST(_F|_P)?", name):
        arguments = re.search(r"\(([^)]*)\)", head[match.start():])
        return name + "(" + re.sub(r"\s+", " ", arguments.group(1)) + ")" if arguments else name
    return name


def functions_of(text):
    """(name, first line, lines) of each function. Blocks inside a function count as part of it."""
    text = checklib.blank_comments_and_strings(text)
    text = DIRECTIVE.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
    found, stack, start = [], [], 0
    for match in re.finditer(r"[{};]", text):
        char, at = match.group(0), match.start()
        inside = any(kind in ("function", "other") for kind, _, _ in stack)
        if char == "{":
            head = text[start:at]
            kind = "block" if inside else kind_of(head)
            first = checklib.line_of(text, start + LEADING.match(head).end())
            stack.append((kind, head, first))
            if kind != "initializer":
                start = at + 1
        elif char == "}":
            if not stack:
                continue
            kind, head, first = stack.pop()
            if kind == "function":
                found.append((name_of(head), first, checklib.line_of(text, at) - first + 1))
            if kind != "initializer":
                start = at + 1
        elif not (stack and stack[-1][0] == "initializer"):
            start = at + 1
    return found


def read_exceptions(root):
    """{path or path:function: (line, reason)}"""
    if not os.path.exists(os.path.join(root, EXCEPTIONS)):
        return {}
    found = {}
    for number, line in enumerate(checklib.read(root, EXCEPTIONS).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            key, _, reason = line.strip().partition("  ")
            found[key.strip()] = (number, reason.strip())
    return found


def measure(root):
    """[(lines, path)], [(lines, path, first line, name)]"""
    files, functions = [], []
    cxx = checklib.source_files(root, CXX_FOLDERS)
    for path in cxx + checklib.source_files(root, CXX_FOLDERS, OTHER_SUFFIXES):
        text = checklib.read(root, path)
        files.append((len(text.splitlines()), path))
        if path.endswith(checklib.CXX_SUFFIXES):
            functions += [(lines, path, first, name) for name, first, lines in functions_of(text)]
    return files, functions


def judge(files, functions, exceptions):
    violations, used = [], set()

    def over(key, path, line, rule, text):
        if exceptions.get(key, (0, ""))[1]:
            used.add(key)
        else:
            violations.append((path, line, rule, text))

    for lines, path in files:
        if lines > limits_for(path)["file"]:
            over(path, path, 1, "file-size", f"{lines} lines, the limit is {limits_for(path)['file']}")
    for lines, path, first, name in functions:
        if lines > limits_for(path)["function"]:
            over(f"{path}:{name}", path, first, "function-size",
                 f"{name} has {lines} lines, the limit is {limits_for(path)['function']}")
    for key, (number, reason) in sorted(exceptions.items()):
        if key not in used:
            text = f"{key} is within the limits or gone: remove the line" if reason else f"{key} gives no reason"
            violations.append((EXCEPTIONS, number, "stale-exception", text))
    return violations


def check(root):
    files, functions = measure(root)
    return judge(files, functions, read_exceptions(root)), len(files)


def print_largest():
    files, functions = measure(checklib.ROOT)
    print("largest files:")
    for lines, path in sorted(files, reverse=True)[:10]:
        print(f"  {lines:5} {path}")
    print("largest functions:")
    for lines, path, first, name in sorted(functions, reverse=True)[:10]:
        print(f"  {lines:5} {path}:{first} {name}")


def self_test():
    body = "  f();\n" * 58
    long_body = "  f();\n" * 59
    files = {
        "src/base/ok.cc": "namespace a {\nclass B {\n public:\n  B() : x_{1}, y_(2) {\n" + body + "  }\n};\n}\n",
        "src/base/function.cc": "namespace a {\nint f(int x) {\n" + long_body + "}\n}\n",
        "src/base/init.cc": "B::B(int n)\n    : x_{n} {\n" + long_body + "}\n",
        "src/base/raw.cc": "const char* s = R\"x(\n" + "{\n" * 70 + ")x\";\nint v[] = {\n" + "1,\n" * 70 + "};\n",
        "src/base/file.cc": "int x;\n" * 501,
        "src/base/known.cc": "int x;\n" * 501,
        "src/kernels/avx2/k.cc": "void k() {\n" + "  f();\n" * 140 + "}\n" + "int x;\n" * 600,
        "src/kernels/avx2/long.cc": "void k() {\n" + "  f();\n" * 149 + "}\n",
        EXCEPTIONS: "src/base/known.cc  one table, made by a script\nsrc/base/ok.cc  not needed\n",
    }
    expected = [
        ("src/base/function.cc", "function-size"), ("src/base/init.cc", "function-size"),
        ("src/base/file.cc", "file-size"), ("src/kernels/avx2/long.cc", "function-size"),
        (EXCEPTIONS, "stale-exception"),
    ]
    return checklib.expect_rules("check_sizes", files, check, expected)


if __name__ == "__main__":
    if not sys.argv[1:]:
        print_largest()
    sys.exit(checklib.main("check_sizes", check, self_test))
