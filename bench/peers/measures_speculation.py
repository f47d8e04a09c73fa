"""Speculation by prompt lookup: our server with and without it, on prompts whose answers copy and on others."""

import contextlib
import json
import os

import load_client
import tokenworks
from peerlib import ROOT, Failed, interleave, say
from servers import Server

PROMPTS = os.path.join(ROOT, "bench", "peers", "speculation_prompts.json")
FLAGS = {"plain": ("--speculate", "off"), "lookup": ("--speculate", "lookup")}
LARGE, SHORT_ANSWER, LONG_ANSWER = 300e6, 48, 160  # bytes of a large model; tokens of an answer at most


def ask(server, model, prompt):
    """One answer, alone, at temperature 0; seconds and tokens from its first event to its last."""
    body = {"max_tokens": SHORT_ANSWER if model.bytes_per_token > LARGE else LONG_ANSWER, "temperature": 0}
    if model.chat:
        path, body = "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": prompt}]}
    else:
        path, body = "/v1/completions", {**body, "prompt": prompt, "ignore_eos": True}
    answer = load_client.complete(server.port, path, [body])[0]
    if len(answer.times) < 2 or not answer.tokens:
        return 0.0, 0, answer.text
    return answer.times[-1] - answer.times[0], answer.tokens - 1, answer.text


def compare(model, texts):
    """{"plain": tokens/s, "lookup": tokens/s, "differing": answers}; prompt by prompt in turn."""
    seconds, tokens, differing = {"plain": 0.0, "lookup": 0.0}, {"plain": 0, "lookup": 0}, 0
    options = ("--ctx", "2048", "--max-batch", "1")
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(Server(lambda port, extra=extra: tokenworks.server_command(
            model.path, port, 2, (*options, *extra)))) for name, extra in FLAGS.items()}
        for text in texts:
            answers = {}
            for name, server in servers.items():
                spent, made, answers[name] = ask(server, model, text)
                seconds[name] += spent
                tokens[name] += made
            differing += answers["plain"] != answers["lookup"]
    if 0 in tokens.values():
        raise Failed("the answers were empty")
    return {**{name: tokens[name] / seconds[name] for name in tokens}, "differing": differing}


def speculation(bench, model):
    with open(PROMPTS, encoding="utf-8") as file:
        sets = json.load(file)
    for measure, key in (("speculation_copy", "copy_and_edit"), ("speculation_other", "other")):
        if not bench.wants(measure, model):
            continue
        target = bench.target(measure, model, 2, None)
        outcome = interleave({"ours": lambda key=key: compare(model, sets[key])}, {}, 1, bench.seconds())
        values = outcome.values["ours"]
        if isinstance(values, str):
            yield target.settle(values, values)
            continue
        say(f"  {measure}: {values}")
        target.settle(values["lookup"], values["plain"])
        if values["differing"]:
            target.met, target.error = False, f"{values['differing']:.0f} answers differ from those without it"
        yield target
