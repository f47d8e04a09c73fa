"""Measures over HTTP: many requests at once, a long prompt among running requests, the time to the first token."""

import random
import time

import llama_cpp
import load_client
import tokenworks
from peerlib import Failed, interleave, say
from servers import Server

REQUESTS, PROMPT, ANSWER, CONTEXT = 16, 256, 128, 512
RUNNING, LONG_PROMPT, LONG_CONTEXT = 4, 4096, 8192
START_PROMPT, START_CONTEXT = 16, 2048


def prompts(model, count, length, seed):
    """Distinct prompts of ordinary tokens; no two begin alike."""
    generator = random.Random(seed)
    firsts = generator.sample(model.token_pool, count)
    return [[first, *generator.choices(model.token_pool, k=length - 1)] for first in firsts]


def ours(model, *options):
    """Without guessing: the answers to random prompts repeat themselves, which would flatter it."""
    return Server(lambda port: tokenworks.server_command(model.path, port, 2, (*options, "--speculate", "off")))


def peer(bench, model, *options, wait=True):
    if isinstance(bench.llama, str):
        raise Failed(f"llama.cpp: {bench.llama}")
    return Server(lambda port: llama_cpp.server_command(bench.llama, model.path, port, 2, options), wait)


def flash_choices(bench, model):
    return [{"0": "off", "1": "on"}[flash] for flash in bench.flash_choices(model, "batch_16")]


def many_requests(server, model, seed):
    """Speeds of 16 requests at once; the same client, and the same prompts for all servers in a round."""
    bodies = [{"prompt": prompt, "max_tokens": ANSWER, "temperature": 0, "ignore_eos": True}
              for prompt in prompts(model, REQUESTS, PROMPT, seed)]
    answers = load_client.complete(server.port, "/v1/completions", bodies)
    tokens = [answer.tokens for answer in answers]
    if tokens != [ANSWER] * REQUESTS:
        raise Failed(f"not every answer has {ANSWER} tokens: {tokens}")
    gaps = [gap for answer in answers for gap in answer.gaps()]
    first = [answer.times[0] - answer.sent for answer in answers]
    wall = max(answer.times[-1] for answer in answers) - min(answer.sent for answer in answers)
    return {"rate": sum(tokens) / wall, "itl_p50": 1e3 * load_client.quantile(gaps, 0.5),
            "itl_p99": 1e3 * load_client.quantile(gaps, 0.99), "ttft_p50": 1e3 * load_client.quantile(first, 0.5),
            "ttft_p99": 1e3 * load_client.quantile(first, 0.99), "memory": server.peak_memory()}


def http(bench, model):
    seeds = {}

    def measured(name, start):
        def once():
            seeds[name] = seeds.get(name, 0) + 1
            with start() as server:
                return many_requests(server, model, seeds[name])
        return once

    rivals = {}
    for flash in flash_choices(bench, model):
        options = ("-np", str(REQUESTS), "-c", str(REQUESTS * CONTEXT), "-fa", flash, "-lm", "none")
        name = f"llama.cpp llama-server {' '.join(options)}"
        rivals[name] = measured(name, lambda options=options: peer(bench, model, *options))
    outcome = interleave(
        {"ours": measured("ours", lambda: ours(model, "--ctx", str(CONTEXT), "--max-batch", str(REQUESTS)))}, rivals,
        bench.rounds, bench.seconds(), rank=lambda value: value["rate"])
    for name, values in outcome.values.items():
        text = values if isinstance(values, str) else ", ".join(f"{k} {v:.1f}" for k, v in values.items())
        say(f"  {name}: {text}")
    for measure, key in (("http_16", "rate"), ("http_16_itl_p99", "itl_p99")):
        target = bench.target(measure, model, 2, outcome)
        theirs = value_of(outcome.best(), key)
        yield target.settle(value_of(outcome.values["ours"], key), theirs, theirs)
    target = bench.target("http_16_memory", model, 2, outcome)
    ran = [values["memory"] for name, values in outcome.values.items() if name != "ours" and not isinstance(values, str)]
    least = min(ran) if ran else outcome.best()
    yield target.settle(value_of(outcome.values["ours"], "memory"), least, least)


def value_of(values, key):
    return values if isinstance(values, str) else values[key]


def long_prompt(server, model, seed):
    """p99 of the gaps between tokens of 4 running requests, in ms: in quiet, and while a long prompt is prefilled."""
    running = [load_client.Stream(server.port, "/v1/completions",
                                  {"prompt": prompt, "max_tokens": LONG_CONTEXT - 128, "temperature": 0,
                                   "ignore_eos": True}) for prompt in prompts(model, RUNNING, 32, seed)]
    streams = list(running)
    try:
        load_client.pump(running, lambda: all(stream.started for stream in running), 120)
        quiet_begin = time.monotonic()
        load_client.pump(running, lambda: time.monotonic() > quiet_begin + 4, 60)
        streams.append(load_client.Stream(server.port, "/v1/completions",
                                          {"prompt": prompts(model, 1, LONG_PROMPT, seed)[0], "max_tokens": 2,
                                           "temperature": 0, "ignore_eos": True}))
        load_client.pump(streams, lambda: streams[-1].started, 180)
        answers = [stream.answer() for stream in streams]
    finally:
        for stream in streams:
            stream.close()
    sent, first = answers[-1].sent, answers[-1].times[0]
    quiet = [gap for answer in answers[:-1] for gap in answer.gaps(quiet_begin, sent)]
    # The gap that the prefill's end closes is among these: its tokens come with or just after the first one.
    prefill = [gap for answer in answers[:-1] for gap in answer.gaps(sent, first + 0.005)]
    return {"quiet": 1e3 * load_client.quantile(quiet, 0.99), "prefill": 1e3 * load_client.quantile(prefill, 0.99),
            "seconds": first - sent}


def itl(bench, model):
    slots = RUNNING + 1
    seeds = iter(range(1000))

    def our_run():
        with ours(model, "--ctx", str(LONG_CONTEXT), "--max-batch", str(slots)) as server:
            return long_prompt(server, model, next(seeds))

    def peer_run():
        options = ("-np", str(slots), "-c", str(slots * LONG_CONTEXT), "-fa", flash_choices(bench, model)[-1])
        with peer(bench, model, *options) as server:
            return long_prompt(server, model, next(seeds))

    outcome = interleave({"ours": our_run}, {"llama.cpp llama-server": peer_run}, bench.rounds, bench.seconds(),
                         rank=lambda value: -value["prefill"])
    for name, values in outcome.values.items():
        text = values if isinstance(values, str) else ", ".join(f"{k} {v:.1f}" for k, v in values.items())
        say(f"  {name}: {text}")
    values = outcome.values["ours"]
    target = bench.target("itl_4k_prefill", model, 2, outcome)
    yield target.settle(value_of(values, "prefill"), value_of(values, "quiet"), value_of(outcome.best(), "prefill"))


def first_token(bench, model):
    """The files are in the page cache, and what a first start leaves behind is there: it is the second start."""
    def once(start):
        def measure():
            with start() as server:
                body = {"prompt": prompts(model, 1, START_PROMPT, 1)[0], "max_tokens": 4, "ignore_eos": True}
                return server.first_answer(body, 120)
        return measure

    def our_start():
        options = ("--ctx", str(START_CONTEXT), "--max-batch", "1")
        return Server(lambda port: tokenworks.server_command(model.path, port, 2, options), wait=False)

    def peer_start(mode):
        return peer(bench, model, "-np", "1", "-c", str(START_CONTEXT), "--no-warmup", "-lm", mode, wait=False)

    try:
        once(our_start)()
    except Failed as error:
        say(str(error))  # the measurement says it again
    outcome = interleave({"ours": once(our_start)},
                         {f"llama.cpp llama-server --no-warmup -lm {mode}": once(lambda mode=mode: peer_start(mode))
                          for mode in ("none", "mmap")},
                         bench.rounds, bench.seconds(), rank=lambda value: -value)
    target = bench.target("first_token", model, 2, outcome)
    yield target.settle(outcome.values["ours"], model.start_seconds, outcome.best())
