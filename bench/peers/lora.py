"""What both sides of bench/peers/train's LoRA measure are given: the model, the tokens, the adapter; and whether they computed
the same."""

import json
import os

import models
import tokenworks
from peerlib import PEERS, ROOT, Failed, run, say

MODEL = "SmolLM2-135M T=512"
CONTEXT, TOKENS = 512, 8192
RANK, ALPHA, RATE, STEPS = 16, 32, 1e-3, 2
# The adapter adds nothing at first: the first losses differ by what bf16 rounds. Its first weights are drawn otherwise on
# each side, and so the last losses may differ by more.
FIRST_WITHIN, LAST_WITHIN = 0.01, 0.05


def folder():
    """The model in bf16 as transformers reads it, written by our program from the file of its store."""
    path = os.path.join(PEERS, "models", "smollm2-135m-bf16")
    if not os.path.exists(path):
        tokenworks.build()
        say("writing SmolLM2 as a bf16 folder")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        run([tokenworks.PROGRAM, "quantize", models.smollm2(), path, "--type", "bf16"])
    return path


def ids():
    """The file of a step's tokens: ordinary text."""
    path = os.path.join(PEERS, "models", "lora-ids.json")
    wanted = TOKENS // CONTEXT * (CONTEXT + 1)
    if not os.path.exists(path):
        with open(os.path.join(ROOT, "tests", "data", "text", "tinyshakespeare.txt"), encoding="utf-8") as file:
            text = file.read()[:5 * wanted]
        lines = run([tokenworks.PROGRAM, "tokenize", models.smollm2(), text, "--ids", "--no-special"]).split()
        if len(lines) < wanted:
            raise Failed(f"the text for LoRA has {len(lines)} tokens and not {wanted}")
        with open(path, "w", encoding="utf-8") as file:
            json.dump([int(line) for line in lines[:wanted]], file)
    return path


def arguments(at_once):
    """The last arguments of both programs."""
    return [str(at_once), str(STEPS), str(RANK), str(ALPHA), str(RATE)]


def losses_differ(ours, theirs):
    """Empty, or what is wrong: both must compute the same at first, and learn."""
    for key, within in (("first_loss", FIRST_WITHIN), ("last_loss", LAST_WITHIN)):
        if abs(ours[key] - theirs[key]) > within * abs(theirs[key]):
            return f"not the same work: {key} is {ours[key]:.4f}, the peer's {theirs[key]:.4f}"
    for name, side in (("ours", ours), ("the peer", theirs)):
        if not side["last_loss"] < side["first_loss"]:
            return f"{name} does not learn: loss {side['first_loss']:.4f}, then {side['last_loss']:.4f}"
    return ""
