"""Our program: building it, its benchmark verb, its server."""

import json
import os

from peerlib import ROOT, Failed, last_json, run

PROGRAM = os.path.join(ROOT, "build", "tokenworks")


def build():
    """Path of our program, built if it is not current."""
    folder = os.path.join(ROOT, "build")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        run(["cmake", "--preset", "release", "-DTW_TESTS=OFF"])
    run(["ninja", "-C", folder, "tokenworks"])
    return PROGRAM


def version():
    """The commit it was built from; "of no commit" outside a repository."""
    try:
        commit = run(["git", "rev-parse", "--short", "HEAD"]).strip()
        changed = run(["git", "status", "--porcelain", "--", "src", "cmake", "CMakeLists.txt"]).strip()
    except Failed:
        return "of no commit"
    return f"{commit}{' with changes' if changed else ''}"


def bench(model, threads, prompt, generate, batch=1, ceilings=False, prompt_type="auto"):
    """The JSON of `tokenworks bench`, one counted run after a warm-up."""
    command = [PROGRAM, "bench", model, "--json", "--threads", str(threads), "--repeat", "1", "--prompt", str(prompt),
               "--generate", str(generate), "--batch", str(batch), "--prompt-type", prompt_type]
    out = last_json(run(command + ([] if ceilings else ["--no-ceilings"])), "tokenworks bench")
    for key in ("prefill_tokens_per_second", "decode_tokens_per_second"):
        if not isinstance(out.get(key), (int, float)):
            raise Failed(f"tokenworks bench: no {key} in {json.dumps(out)[:200]}")
    return out


def perplexity(model, threads, prompt_type, windows=8):
    """Of so many windows of 512 tokens of a text of ours."""
    command = [PROGRAM, "eval", model, "--text", os.path.join(ROOT, "docs", "architecture.md"), "--limit", str(windows),
               "--json", "--threads", str(threads), "--prompt-type", prompt_type]
    try:
        return float(last_json(run(command), "tokenworks eval")["text"][0]["perplexity"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Failed(f"tokenworks eval: no perplexity ({error!r})") from error


def read_ceiling(result):
    """Bytes/s that this machine reads at best, or None."""
    return result.get("bandwidth_bytes_per_second")


def bf16_peak(result):
    """FLOP/s of bf16 matrix multiplication at best, or None on a machine that has none."""
    return max((flops for name, flops in result.get("peaks", {}).items() if "bf16" in name), default=None)


def server_command(model, port, threads, options):
    return [PROGRAM, "serve", model, "--port", str(port), "--threads", str(threads), "--log-level", "warn", *options]
