"""nanoGPT's small setting for CPUs in PyTorch, beside which examples/train/shakespeare-char.json is timed: 4 layers, 4 heads, width
128, context 64, 12 sequences a step, fp32, fused AdamW, clipping, letters of tinyshakespeare, whose last tenth is for validation.
usage: torch_char.py THREADS eager|compile [STEPS]"""
import json
import math
import pathlib
import sys
import time

import torch
from torch import nn
from torch.nn import functional

LAYERS, HEADS, WIDTH, CONTEXT, TOGETHER = 4, 4, 128, 64, 12
PEAK, LAST, WARMUP = 1e-3, 1e-4, 100


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.o = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        q, k, v = (part.view(len(x), CONTEXT, HEADS, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(WIDTH, 2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(x.shape))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.embed, self.places = nn.Embedding(vocab, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH, bias=False), nn.Linear(WIDTH, vocab, bias=False)
        self.head.weight = self.embed.weight
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, 0, 0.02)

    def forward(self, ids, targets):
        x = self.embed(ids) + self.places(torch.arange(CONTEXT))
        for block in self.blocks:
            x = block(x)
        return functional.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


def rate_at(step, steps):
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return LAST + (PEAK - LAST) * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP))) / 2


def main():
    threads, mode, steps = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    text = (pathlib.Path(__file__).parents[2] / "tests/data/text/tinyshakespeare.txt").read_text(encoding="utf-8")
    letters = {letter: i for i, letter in enumerate(sorted(set(text)))}
    ids = torch.tensor([letters[letter] for letter in text])
    learnt, kept = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
    model = Gpt(len(letters))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if mode == "compile" else model
    begin = time.perf_counter()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate_at(step, steps)
        at = torch.randint(len(learnt) - CONTEXT, (TOGETHER,))
        rows = torch.stack([learnt[i : i + CONTEXT + 1] for i in at])
        optimizer.zero_grad(set_to_none=True)
        forward(rows[:, :-1], rows[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - begin
    windows = (len(kept) - 1) // CONTEXT
    with torch.no_grad():
        x, y = (kept[i : i + windows * CONTEXT].view(windows, CONTEXT) for i in (0, 1))
        loss = sum(model(a, b).item() * len(a) for a, b in zip(x.split(64), y.split(64))) / windows
    print(json.dumps({"mode": mode, "threads": threads, "steps": steps, "seconds": seconds, "validation_loss": loss,
                      "torch": torch.__version__}))


main()
