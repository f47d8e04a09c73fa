#!/usr/bin/env python3
"""Runs clang-tidy-19 over src/**/*.cc, as many at once as there are cores, and remembers what passed.

usage: run_tidy.py BUILD_DIR [PATTERN]     BUILD_DIR has a compile_commands.json made for clang
A file is skipped when it, our headers it includes, its command, .clang-tidy and the tool are as they were when it
last passed (.cache/tidy). With TIDY_SECONDS=N in the environment no file is begun after N seconds, and those left are
counted: what is left changes with the day, so that all are reached in the end. Tests and fuzzers are left out: gtest's macros cost minutes and find little.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import time

import checklib

TIDY = "clang-tidy-19"
CACHE = os.path.join(checklib.ROOT, ".cache", "tidy")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def own_files(path):
    """The file and all of our headers that it includes, directly or not."""
    seen, queue = {path}, [path]
    while queue:
        for inner in INCLUDE.findall(checklib.read(checklib.ROOT, queue.pop())):
            header = f"src/{inner}"
            if header not in seen and os.path.exists(os.path.join(checklib.ROOT, header)):
                seen.add(header)
                queue.append(header)
    return sorted(seen)


def digest(path, command, salt):
    total = hashlib.sha256(salt + command.encode())
    for name in own_files(path):
        total.update(name.encode() + b"\0" + checklib.read(checklib.ROOT, name).encode() + b"\0")
    return total.hexdigest()


def run_one(build, deadline, path, key):
    if deadline and time.monotonic() > deadline:
        return path, None, "", None
    stamp = os.path.join(CACHE, key)
    if os.path.exists(stamp):
        return path, 0, "", None
    start = time.monotonic()
    run = subprocess.run([TIDY, "--quiet", "-p", build, path], cwd=checklib.ROOT, capture_output=True, text=True)
    if run.returncode == 0:
        open(stamp, "w", encoding="utf-8").close()
    complaints = run.stdout or run.stderr
    return path, run.returncode, complaints if run.returncode else "", time.monotonic() - start


def jobs_from(build, pattern):
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    salt = version + checklib.read(checklib.ROOT, ".clang-tidy").encode()
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = {os.path.relpath(c["file"], checklib.ROOT): c["command"] for c in json.load(file)}
    for path, command in sorted(commands.items()):
        if path.startswith("src/") and not path.endswith(("_test.cc", "_fuzz.cc")) and re.search(pattern, path):
            yield path, digest(path, command, salt)


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    build = sys.argv[1]
    os.makedirs(CACHE, exist_ok=True)
    work = list(jobs_from(build, sys.argv[2] if len(sys.argv) == 3 else ""))
    seconds = float(os.environ.get("TIDY_SECONDS") or 0)
    deadline = time.monotonic() + seconds if seconds else None
    if deadline:  # another part of the files comes first each day
        first = int(time.time() // 86400) * 37 % max(1, len(work))
        work = work[first:] + work[:first]
    failed, left, times = 0, 0, []
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for path, status, text, seconds in pool.map(lambda job: run_one(build, deadline, *job), work):
            left += status is None
            failed += status not in (0, None)
            if seconds is not None:
                times.append((seconds, path))
            if text:
                print(f"{path}: clang-tidy\n{text}", flush=True)
    slowest = ", ".join(f"{path} {seconds:.0f} s" for seconds, path in sorted(times, reverse=True)[:3])
    unchanged = len(work) - len(times) - left
    print(f"clang-tidy: {len(work)} files, {unchanged} unchanged, {left} left for want of time, {failed} with findings; slowest: {slowest}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
