"""llama.cpp: its newest source from npm, built for this machine, and its benchmark programs."""

import dataclasses
import json
import os
import shutil
import tarfile

from peerlib import PEERS, ROOT, Failed, run, say

PACKAGE = "node-llama-cpp@latest"  # an npm package that carries llama.cpp's source as a git bundle
TARGETS = ["llama-bench", "llama-batched-bench", "llama-server", "llama-quantize"]


@dataclasses.dataclass
class LlamaCpp:
    source: str
    bin: str      # the folder of its programs
    version: str  # "v0.5.0 (de3ff81), clang 19.1.7, -march=native"

    def program(self, name):
        return os.path.join(self.bin, name)


def fetch_source():
    """The source folder of llama.cpp and its version, from the npm package's bundle. Once there, it is kept: remove
    build/peers/llama.cpp for a newer one."""
    source, info = os.path.join(PEERS, "llama.cpp"), os.path.join(PEERS, "llama.cpp.json")
    if not (os.path.isdir(source) and os.path.exists(info)):
        say(f"fetching llama.cpp ({PACKAGE})")
        os.makedirs(PEERS, exist_ok=True)
        packed = run(["npm", "pack", "--silent", PACKAGE], cwd=PEERS).split()[-1]
        with tarfile.open(os.path.join(PEERS, packed)) as archive:
            for name in ("gitRelease.bundle", "llama.cpp.info.json"):
                member = archive.extractfile(f"package/llama/{name}")
                with open(os.path.join(PEERS, name), "wb") as file:
                    shutil.copyfileobj(member, file)
        shutil.rmtree(source, ignore_errors=True)
        shutil.rmtree(source + "-build", ignore_errors=True)
        run(["git", "clone", "-q", os.path.join(PEERS, "gitRelease.bundle"), source])
        os.replace(os.path.join(PEERS, "llama.cpp.info.json"), info)
    with open(info, encoding="utf-8") as file:
        tag = json.load(file)["tag"]
    commit = run(["git", "-C", source, "rev-parse", "--short", "HEAD"]).strip()
    return source, f"{tag} ({commit})"


def build():
    """llama.cpp as its authors would build it for this machine. clang, because g++ 12 breaks its AMX path; its own
    threads, because Debian's OpenMP for clang is another package and llama.cpp's pool is its default elsewhere."""
    if not shutil.which("clang++-19"):
        run([os.path.join(ROOT, "scripts", "setup"), "check"])
    source, version = fetch_source()
    folder = source + "-build"
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        run(["cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
             "-DCMAKE_C_COMPILER=clang-19", "-DCMAKE_CXX_COMPILER=clang++-19", "-DGGML_NATIVE=ON", "-DGGML_OPENMP=OFF",
             "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_BUILD_TESTS=OFF",
             "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF"])
    programs = os.path.join(folder, "bin")
    if not all(os.path.exists(os.path.join(programs, name)) for name in TARGETS):
        say("building llama.cpp: some 20 minutes on two cores")
        run(["ninja", "-C", folder, *TARGETS], timeout=7200)
    compiler = run(["clang++-19", "-dumpversion"]).strip()
    return LlamaCpp(source, programs, f"{version}, clang {compiler}, -march=native")


def bench(llama, model, threads, flash, prompt=0, generate=0):
    """tokens/s of llama-bench: of the prompt or of the generation, whichever is asked for. It warms up by itself."""
    out = run([llama.program("llama-bench"), "-m", model, "-t", str(threads), "-fa", flash, "-p", str(prompt),
               "-n", str(generate), "-r", "1", "-o", "json"])
    try:
        return float(json.loads(out)[0]["avg_ts"])
    except (IndexError, KeyError, ValueError) as error:
        raise Failed(f"llama-bench: unexpected output {out[-200:]!r}") from error


def batched_bench(llama, model, threads, flash, sequences, prompt, generate):
    """tokens/s that so many sequences generate together."""
    out = run([llama.program("llama-batched-bench"), "-m", model, "-t", str(threads), "-fa",
               "on" if flash == "1" else "off", "-c", str(sequences * (prompt + generate)), "-npp", str(prompt),
               "-ntg", str(generate), "-npl", str(sequences), "--output-format", "jsonl"])
    lines = [line for line in out.splitlines() if line.startswith("{")]
    try:
        return float(json.loads(lines[-1])["speed_tg"])
    except (IndexError, KeyError, ValueError) as error:
        raise Failed(f"llama-batched-bench: unexpected output {out[-200:]!r}") from error


def server_command(llama, model, port, threads, options):
    """llama-server with nothing it could do without; `options`: slots, context, flash attention, loading."""
    return [llama.program("llama-server"), "-m", model, "--host", "127.0.0.1", "--port", str(port), "-t", str(threads),
            "--no-ui", "--cache-ram", "0", *options]
