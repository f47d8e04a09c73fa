#!/usr/bin/env python3
"""Makes tests/golden/train/dropout.json: what PyTorch learns with dropout whose masks are ours.

    pip install torch transformers peft
    python3 tools/make_dropout_golden.py

Dropout of GPT-2 in transformers (embd_pdrop and resid_pdrop, and in a second run attn_pdrop too), and of peft's LoRA
(lora_dropout), each module replaced by one that asks Philox4x32-10, written down here, what is kept: where and how numbers
are left out is theirs. Weights, documents and optimizer are those of make_train_golden.py and make_lora_golden.py, which
come first.
"""
import json
import sys
from pathlib import Path

import numpy
import peft
import torch
import transformers

import make_lora_golden as lora
import make_train_golden as whole

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
STEPS, SHARE, SEED = 5, 0.25, 0x9_0000_0001
OF_ATTENTION = 0.4  # share of attention's weights
EMBEDDING, WEIGHTS, ADAPTERS = 1, 0x40000000, 0x80000000  # sites; the layers' follow the first
ADAPTER = "llama3"  # of make_lora_golden.py


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
    weights = 0  # the site of the first head of the layer whose attention runs


class Masked(torch.nn.Module):
    """Of x [..., rows, width]; of [1, heads, rows, width] each head is a site of its own."""

    def __init__(self, site, share=SHARE):
        super().__init__()
        self.site, self.p = site, share

    def mask(self, site, rows, width):
        i, t = numpy.arange(width), numpy.arange(rows)[:, None] + Place.first_row
        counter = numpy.broadcast_arrays(i // 64 * 16 + i % 16, t, site, Place.step)
        words = numpy.stack(philox(counter, (SEED & 0xFFFFFFFF, SEED >> 32)))
        word = numpy.take_along_axis(words, numpy.broadcast_to(i // 16 % 4, (1, rows, width)), 0)[0]
        return torch.from_numpy(word.astype(numpy.float64) / 2.0**32 >= self.p)

    def forward(self, x):
        rows, width = x.shape[-2:]
        heads = x.shape[1] if x.dim() == 4 else 1
        kept = torch.stack([self.mask(self.site + head, rows, width) for head in range(heads)])
        return x * kept / (1 - self.p)


def masked_weights(x, p=0.5, training=True, inplace=False):
    """For torch.nn.functional.dropout, which transformers' attention calls with its weights."""
    return Masked(Place.weights, p)(x) if training and p > 0 else x


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


def gpt2(of_attention):
    torch.manual_seed(11)
    model = whole.make_model("gpt2")
    if not (GOLDEN / "train/gpt2.f32").read_bytes().startswith(whole.numbers(model, lambda p: p)):
        sys.exit("another torch draws other weights: run make_train_golden.py first")
    model.transformer.drop = Masked(EMBEDDING)
    for number, layer in enumerate(model.transformer.h):
        layer.attn.resid_dropout, layer.mlp.dropout = Masked(2 + 2 * number), Masked(3 + 2 * number)
        if of_attention:  # its module is only asked for its share
            layer.attn.attn_dropout = torch.nn.Dropout(OF_ATTENTION)
            layer.attn.register_forward_pre_hook(
                lambda *_, site=WEIGHTS + number * model.config.n_head: setattr(Place, "weights", site))
    model.register_forward_hook(next_rows, with_kwargs=True)
    return train(model.train())


def adapter():
    """peft's LoRA on all linear layers, which are numbered in the order of the forward pass."""
    entry = next(a for a in lora.ADAPTERS if a["name"] == ADAPTER)
    base = lora.load_base(entry, GOLDEN / "families")
    model = peft.PeftModel.from_pretrained(base, GOLDEN / "lora" / ADAPTER, is_trainable=True)
    layers = [m for name, m in model.named_modules() if isinstance(m, peft.tuners.lora.Linear)]
    names = [name for name, m in model.named_modules() if isinstance(m, peft.tuners.lora.Linear)]
    order = [name.rpartition(".")[2] for name in names]
    if order != lora.ALL * base.config.num_hidden_layers:
        sys.exit(f"layers in another order: {order}")
    for number, layer in enumerate(layers):
        layer.lora_dropout["default"] = Masked(ADAPTERS + number)
    model.register_forward_hook(next_rows, with_kwargs=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lora.RATE, betas=lora.BETAS, eps=lora.EPSILON, weight_decay=lora.DECAY)
    losses, norms = [], []
    model.train()
    for step in range(STEPS):
        Place.step, Place.first_row = step, 0
        optimizer.zero_grad()
        loss = lora.step_loss(model, step, base.config.vocab_size)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, lora.CLIP)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return {"vocab": base.config.vocab_size, "losses": losses, "gradient_norms": norms}


def main():
    torch.nn.functional.dropout = masked_weights
    if [int(word) for word in philox((0, 0, 0, 0), (0, 0))] != [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]:
        sys.exit("this is not Philox")  # kat_vectors of Random123
    result = {"made_by": f"tools/make_dropout_golden.py, torch {torch.__version__}, transformers {transformers.__version__}, "
                         f"peft {peft.__version__}",
              "share": SHARE, "of_attention": OF_ATTENTION, "seed": SEED, "gpt2": gpt2(False),
              "gpt2_attention": gpt2(True), "adapter": adapter()}
    (GOLDEN / "train/dropout.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
