"""Measures of the engine alone, without HTTP: prefill, decode, sequences decoded together, a busy neighbour."""

import contextlib
import os
import subprocess
import sys

import llama_cpp
import tokenworks
from peerlib import Failed, interleave

PROMPT = 512
SEQUENCES, SEQUENCE_PROMPT = 16, 16


def peer_variants(bench, model, kind, run):
    """{name: function}: llama.cpp with and without flash attention, or the faster once `kind` was measured with both.
    run(flash) measures."""
    name = "llama-batched-bench" if kind == "batch_16" else "llama-bench"
    if isinstance(bench.llama, str):
        def missing():
            raise Failed(f"llama.cpp: {bench.llama}")
        return {f"llama.cpp {name}": missing}
    return {f"llama.cpp {name} -fa {flash}": lambda flash=flash: run(flash) for flash in bench.flash_choices(model, kind)}


def note_flash(bench, model, kind, outcome):
    """Remembers what llama.cpp did this kind of work faster with."""
    ran = [name for name in outcome.rivals if " -fa " in name and not isinstance(outcome.values[name], str)]
    if ran:
        bench.flash[model.name, kind] = max(ran, key=outcome.values.get)[-1]


def ours_of(outcome, key, name="ours"):
    ours = outcome.values[name]
    return ours if isinstance(ours, str) else ours[key]


def share_of(outcome, rate, work, ceiling, unit):
    """(ours, reference) of a target that is a share of a ceiling: the rate of tokens times the work of one."""
    ours = outcome.values["ours"]
    if isinstance(ours, str):
        return ours, ours
    missing = "this machine has no such ceiling, says `tokenworks bench --json`"
    return ours[rate] * work / unit, ours[ceiling] / unit if ours[ceiling] else missing


def numbers_only(result):
    """What of the bench's JSON a median can be made of, and the two ceilings (0: unknown)."""
    out = {key: value for key, value in result.items() if isinstance(value, (int, float))}
    return {**out, "read_ceiling": tokenworks.read_ceiling(result) or 0, "bf16_peak": tokenworks.bf16_peak(result) or 0}


def times(value, factor):
    return value if isinstance(value, str) else value * factor


def prefill(bench, model):
    for threads in (1, 2):
        outcome = interleave(
            {"ours": lambda: numbers_only(tokenworks.bench(model.path, threads, PROMPT, 1,
                                                           ceilings="prefill_peak" in model.goals)),
             "int8": lambda: numbers_only(tokenworks.bench(model.path, threads, PROMPT, 1, prompt_type="int8"))},
            {**peer_variants(bench, model, "prefill",
                             lambda flash: llama_cpp.bench(bench.llama, model.path, threads, flash, prompt=PROMPT)),
             **bench.openvino.variants(model, threads, "prefill")},
            bench.rounds, bench.seconds())
        note_flash(bench, model, "prefill", outcome)
        target = bench.target("prefill", model, threads, outcome)
        yield target.settle(ours_of(outcome, "prefill_tokens_per_second"), outcome.best(), outcome.best())
        work = 2 * model.layer_weights
        target = bench.target("prefill_peak", model, threads, outcome)
        if target:
            yield target.settle(*share_of(outcome, "prefill_tokens_per_second", work, "bf16_peak", 1e9),
                                times(outcome.best(), work / 1e9))
        target = bench.target("prefill_int8", model, threads, outcome)
        yield target.settle(ours_of(outcome, "prefill_tokens_per_second", "int8"), outcome.best(), outcome.best())


def int8_perplexity(bench, model):
    """What rounding prompts to 8 bits costs: the reference is our own perplexity without it."""
    outcome = interleave({"ours": lambda: tokenworks.perplexity(model.path, 2, "int8"),
                          "auto": lambda: tokenworks.perplexity(model.path, 2, "auto")}, {}, 1, bench.seconds())
    yield bench.target("prefill_int8_perplexity", model, 2, None).settle(outcome.values["ours"], outcome.values["auto"])


def decode(bench, model):
    for threads in (1, 2):
        outcome = interleave(
            {"ours": lambda: numbers_only(tokenworks.bench(model.path, threads, 1, model.generate,
                                                           ceilings="decode_bandwidth" in model.goals))},
            {**peer_variants(bench, model, "decode", lambda flash: llama_cpp.bench(
                bench.llama, model.path, threads, flash, generate=model.generate)),
             **bench.openvino.variants(model, threads, "decode")},
            bench.rounds, bench.seconds())
        note_flash(bench, model, "decode", outcome)
        target = bench.target("decode", model, threads, outcome)
        yield target.settle(ours_of(outcome, "decode_tokens_per_second"), outcome.best(), outcome.best())
        target = bench.target("decode_bandwidth", model, threads, outcome)
        if target:
            yield target.settle(*share_of(outcome, "decode_tokens_per_second", model.bytes_per_token,
                                          "read_ceiling", 1e9),
                                times(outcome.best(), model.bytes_per_token / 1e9))


def batch(bench, model):
    """All sequences advance by a token when the weights are read once: the read rate is that of the steps."""
    outcome = interleave(
        {"ours": lambda: numbers_only(tokenworks.bench(model.path, 2, SEQUENCE_PROMPT, model.generate, SEQUENCES,
                                                       ceilings="batch_16_bandwidth" in model.goals))},
        {**peer_variants(bench, model, "batch_16", lambda flash: llama_cpp.batched_bench(
            bench.llama, model.path, 2, flash, SEQUENCES, SEQUENCE_PROMPT, model.generate)),
         **bench.openvino.variants(model, 2, "batch_16")},
        bench.rounds, bench.seconds())
    note_flash(bench, model, "batch_16", outcome)
    target = bench.target("batch_16", model, 2, outcome)
    yield target.settle(ours_of(outcome, "decode_tokens_per_second"), outcome.best(), outcome.best())
    work = model.bytes_per_token / SEQUENCES
    target = bench.target("batch_16_bandwidth", model, 2, outcome)
    if target:
        yield target.settle(*share_of(outcome, "decode_tokens_per_second", work, "read_ceiling", 1e9),
                            times(outcome.best(), work / 1e9))


@contextlib.contextmanager
def busy_neighbour():
    """Another process at 100 %, pinned to the first of the processors that we may use."""
    cpu = min(os.sched_getaffinity(0))
    spin = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def busy(bench, model):
    """Two threads beside the busy process, against one thread of a quiet machine."""
    for name, kind, sequences, prompt in (("busy_1", "decode", 1, 1), ("busy_16", "batch_16", SEQUENCES, SEQUENCE_PROMPT)):
        if not bench.wants(name, model):
            continue
        generate = model.generate if sequences == 1 else 32  # the starved take long

        def ours(threads):
            return tokenworks.bench(model.path, threads, prompt, generate, sequences)["decode_tokens_per_second"]

        def peer(flash):
            with busy_neighbour():
                if sequences == 1:
                    return llama_cpp.bench(bench.llama, model.path, 2, flash, generate=generate)
                return llama_cpp.batched_bench(bench.llama, model.path, 2, flash, sequences, prompt, generate)

        def beside():
            with busy_neighbour():
                return ours(2)

        outcome = interleave({"alone": lambda: ours(1), "beside": beside}, peer_variants(bench, model, kind, peer),
                             bench.rounds, bench.seconds())
        target = bench.target(name, model, 2, outcome)
        yield target.settle(outcome.values["beside"], outcome.values["alone"], outcome.best())
