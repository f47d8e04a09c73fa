#!/usr/bin/env python3
"""Makes tests/golden/train/dropout.json: what PyTorch learns with dropout whose masks are ours.

    pip install torch transformers
    python3 tools/make_dropout_golden.py

Dropout of GPT-2 in transformers (embd_pdrop and resid_pdrop), each module replaced by one that asks Philox4x32-10,
written down here, what is kept: where and how numbers are left out is theirs. Weights, documents and optimizer are those
of make_train_golden.py, which comes first.
"""
import json
import sys
from pathlib import Path

import numpy
import torch
import transformers

import make_train_golden as whole

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
STEPS, SHARE, SEED = 5, 0.25, 0x9_0000_0001
EMBEDDING = 1  # a site; the layers' follow


def philox(counter, key):
    """Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011."""
    low = numpy.uint64(0xFFFFFFFF)
    counter, key = [numpy.asarray(word, numpy.uint64) for word in counter], list(key)
    for _ in range(10):
        even, odd = counter[0] * numpy.uint64(0xD2511F53), counter[2] * numpy.uint64(0xCD9E8D57)
        counter = [odd >> 32 ^ counter[1] ^ numpy.uint64(key[0]), odd & low,
                   even >> 32 ^ counter[3] ^ numpy.uint64(key[1]), even & low]
        key = [key[0] + 0x9E3779B9 & 0xFFFFFFFF, key[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return counter


class Place:
    """Where training is: the optimizer's step, and its rows before this document."""
    step, first_row = 0, 0


class Masked(torch.nn.Module):
    def __init__(self, site):
        super().__init__()
        self.site = site

    def forward(self, x):
        rows, width = x.shape[-2:]
        i, t = numpy.arange(width), numpy.arange(rows)[:, None] + Place.first_row
        counter = numpy.broadcast_arrays(i // 64 * 16 + i % 16, t, self.site, Place.step)
        words = numpy.stack(philox(counter, (SEED & 0xFFFFFFFF, SEED >> 32)))
        word = numpy.take_along_axis(words, numpy.broadcast_to(i // 16 % 4, (1, rows, width)), 0)[0]
        kept = torch.from_numpy(word.astype(numpy.float64) / 2.0**32 >= SHARE)
        return x * kept / (1 - SHARE)


def next_rows(_module, _inputs, keywords, _output):
    Place.first_row += keywords["input_ids"].shape[1]


def train(model):
    optimizer, losses, norms = whole.make_optimizer("adamw", model), [], []
    for step in range(STEPS):
        Place.step, Place.first_row = step, 0
        optimizer.zero_grad()
        loss, _ = whole.step_loss(model, step)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), whole.CLIP)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return {"losses": losses, "gradient_norms": norms}


def gpt2():
    torch.manual_seed(11)
    model = whole.make_model("gpt2")
    if not (GOLDEN / "train/gpt2.f32").read_bytes().startswith(whole.numbers(model, lambda p: p)):
        sys.exit("another torch draws other weights: run make_train_golden.py first")
    model.transformer.drop = Masked(EMBEDDING)
    for number, layer in enumerate(model.transformer.h):
        layer.attn.resid_dropout, layer.mlp.dropout = Masked(2 + 2 * number), Masked(3 + 2 * number)
    model.register_forward_hook(next_rows, with_kwargs=True)
    return train(model.train())


def main():
    if [int(word) for word in philox((0, 0, 0, 0), (0, 0))] != [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]:
        sys.exit("this is not Philox")  # kat_vectors of Random123
    result = {"made_by": f"tools/make_dropout_golden.py, torch {torch.__version__}, transformers {transformers.__version__}",
              "share": SHARE, "seed": SEED, "gpt2": gpt2()}
    (GOLDEN / "train/dropout.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
