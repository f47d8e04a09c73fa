"""What the checkers share: walking the sources, blanking comments and strings, reporting, self-tests."""

import os
import re
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CXX_SUFFIXES = (".cc", ".h")

_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/'                         # comments
    r'|R"(?P<delim>[^()\\\s]{0,16})\(.*?\)(?P=delim)"'  # raw strings
    r'|"(?:\\.|[^"\\\n])*"'                       # strings
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",      # characters, but not the ' of 1'000
    re.S)


def blank_comments_and_strings(text):
    """The text with comments gone and strings emptied; every line keeps its number."""

    def blank(match):
        token = match.group(0)
        newlines = "\n" * token.count("\n")
        if token.startswith(("//", "/*")):
            return " " + newlines
        return ("''" if token.startswith("'") else '""') + newlines

    return _TOKEN.sub(blank, text)


def source_files(root, folders, suffixes=CXX_SUFFIXES):
    """Paths relative to root, sorted; build folders and hidden ones are left out."""
    found = []
    for folder in folders:
        for directory, names, files in os.walk(os.path.join(root, folder)):
            names[:] = sorted(n for n in names if not n.startswith((".", "build")) and n != "node_modules")
            for name in files:
                if name.endswith(suffixes):
                    found.append(os.path.relpath(os.path.join(directory, name), root))
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def finish(name, violations, checked):
    """Prints one line per violation (file:line: rule: text) and returns the exit status."""
    for path, line, rule, text in violations:
        print(f"{path}:{line}: {rule}: {text}")
    print(f"{name}: {checked} files, {len(violations)} violations")
    return 1 if violations else 0


def expect_rules(name, files, check, expected):
    """Self-test: writes files {path: text} to a scratch folder and compares the (path, rule) pairs that
    check(root) reports with the expected ones. Returns the exit status."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        violations, _ = check(root)
    got = sorted((path, rule) for path, _, rule, _ in violations)
    if got == sorted(expected):
        print(f"{name} self-test: {len(expected)} planted violations found, nothing else")
        return 0
    print(f"{name} self-test failed", file=sys.stderr)
    print(f"  missed:     {[v for v in expected if v not in got]}", file=sys.stderr)
    print(f"  unexpected: {[v for v in got if v not in expected]}", file=sys.stderr)
    return 1


def main(name, check, self_test):
    """The command line of every checker: no argument checks the repository, --self-test the checker."""
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if sys.argv[1:]:
        print(f"usage: {name}.py [--self-test]", file=sys.stderr)
        return 2
    violations, checked = check(ROOT)
    return finish(name, violations, checked)
