#!/usr/bin/env python3
"""Writes src/text/jinja_unicode_data.cc: what Python's str knows of each code point, as compact tables.

Run: tools/make_jinja_unicode.py > src/text/jinja_unicode_data.cc
The flags and mappings are asked of the running Python, so that they are its own (Unicode 14 for Python 3.11).
"""
import sys
import unicodedata

FLAGS = ["alpha", "decimal", "digit", "numeric", "printable", "lower", "upper", "ignorable", "title", "space"]
SIGMA, SMALL_SIGMA = "\u03a3", "\u03c3"


def ignorable(c):
    """Whether the rule for the final sigma skips this character (Unicode's Case_Ignorable)."""
    skipped_after = ("A" + SIGMA + c + "A").lower()[1] == SMALL_SIGMA
    skipped_before = (c + SIGMA).lower()[-1] == SMALL_SIGMA
    return skipped_after and skipped_before


def flags(c):
    known = [c.isalpha(), c.isdecimal(), c.isdigit(), c.isnumeric(), c.isprintable(), c.islower(), c.isupper(),
             ignorable(c), unicodedata.category(c) == "Lt", c.isspace()]
    return sum(1 << i for i, yes in enumerate(known) if yes)


def flag_runs():
    runs, last = [], None
    for code in range(sys.maxunicode + 1):
        now = flags(chr(code))
        if now != last:
            runs.append(code << len(FLAGS) | now)
        last = now
    return runs


def simple_map(change):
    """(code point, its one-character image) for all that change."""
    for code in range(sys.maxunicode + 1):
        image = change(chr(code))
        if len(image) == 1 and ord(image) != code:
            yield code, ord(image)


def map_runs(change):
    """Runs {first, count, stride, delta}: neighbours that move by the same amount."""
    runs = []
    for code, image in simple_map(change):
        delta = image - code
        if runs and runs[-1][3] == delta:
            first, count, stride, _ = runs[-1]
            gap = code - (first + (count - 1) * stride)
            if (count == 1 and gap <= 2) or gap == stride:
                runs[-1] = [first, count + 1, gap, delta]
                continue
        runs.append([code, 1, 1, delta])
    return runs


def specials(change):
    for code in range(sys.maxunicode + 1):
        image = change(chr(code))
        if len(image) > 1:
            yield code, image


def c_string(text):
    return '"' + "".join(f"\\{b:03o}" for b in text.encode()) + '"'


def print_packed(cells):
    line = ""
    for cell in cells:
        cell = cell.replace(" ", "") + ","
        if len(line) + len(cell) > 110:
            print(line)
            line = ""
        line += cell
    print(line)


def emit_runs(name, rows):
    print(f"const CaseRun k{name}Runs[] = {{")
    print_packed("{%d, %d, %d, %d}" % tuple(row) for row in rows)
    print("};")


def emit_specials(name, rows):
    print(f"const SpecialCase k{name}Specials[] = {{")
    print_packed("{%d, %s}" % (code, c_string(image)) for code, image in rows)
    print("};")


def main():
    print("// Made by tools/make_jinja_unicode.py from Python %s (Unicode %s); do not edit." %
          (sys.version.split()[0], unicodedata.unidata_version))
    print('#include "text/jinja_unicode_data.h"\n\nnamespace tw::text::jinja {\nnamespace {\n')
    print("// clang-format off")
    print("const std::uint32_t kFlagRuns[] = {")
    print_packed(map(str, flag_runs()))
    print("};")
    for name, change in (("Upper", str.upper), ("Lower", str.lower), ("Title", str.title)):
        emit_runs(name, map_runs(change))
        emit_specials(name, specials(change))
    print("// clang-format on\n\n}  // namespace\n")
    print("std::span<const std::uint32_t> flag_runs() { return kFlagRuns; }")
    for name in ("Upper", "Lower", "Title"):
        print(f"CaseTable {name.lower()}_table() {{ return {{k{name}Runs, k{name}Specials}}; }}")
    print("\n}  // namespace tw::text::jinja")


main()
