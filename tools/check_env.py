#!/usr/bin/env python3
"""Environment variables are read in one file, src/base/env.cc, so that `tokenworks info` can list them all.

Rule: env. Tests and fuzzers may set and read what they like.
"""

import re
import sys

import checklib

ALLOWED = {"src/base/env.cc"}
# Hands the whole environment to a child process, and reads nothing of it.
PASSED_ON = {"src/hub/process.cc": "environ"}
READS = re.compile(r"\b(getenv|secure_getenv|environ|setenv|putenv|unsetenv)\b")


def check(root):
    violations = []
    files = [p for p in checklib.source_files(root, ["src"]) if not p.endswith(("_test.cc", "_fuzz.cc"))]
    for path in files:
        if path in ALLOWED:
            continue
        text = checklib.blank_comments_and_strings(checklib.read(root, path))
        for match in READS.finditer(text):
            if match.group(1) == PASSED_ON.get(path):
                continue
            violations.append((path, checklib.line_of(text, match.start()), "env",
                               f"{match.group(1)}: read environment variables in src/base/env.cc only"))
    return violations, len(files)


def self_test():
    files = {
        "src/base/env.cc": "const char* a = getenv(\"A\");\n",
        "src/http/bad.cc": "int x;\nconst char* p = std::getenv(\"HOME\");\n",
        "src/http/comment.cc": "// getenv is not called\nconst char* s = \"getenv\"; int my_environment;\n",
        "src/http/x_test.cc": "int r = setenv(\"A\", \"b\", 1);\n",
        "src/hub/process.cc": "f(environ);\nchar* p = getenv(\"HOME\");\n",
        "src/io/block.cc": "/* getenv\n */ extern char** environ;\n",
    }
    expected = [("src/http/bad.cc", "env"), ("src/io/block.cc", "env"), ("src/hub/process.cc", "env")]
    return checklib.expect_rules("check_env", files, check, expected)


if __name__ == "__main__":
    sys.exit(checklib.main("check_env", check, self_test))
