"""The work of bench/peers/train_steps.cc on PyTorch: whole steps of the same Llama shape, in bf16 with fp32 weights (autocast), fused
AdamW, clipping, scaled-dot-product attention. One JSON line on standard output.
usage: torch_train.py SHAPE CONTEXT THREADS eager|compile TOKENS AT_ONCE STEPS"""
import json
import resource
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

# layers, width, heads, ffn, vocab: bench/peers/train_steps.cc has the same.
SHAPES = {"10m": (6, 320, 5, 864, 8192), "50m": (12, 512, 8, 1376, 16384), "124m": (12, 768, 12, 2048, 50304)}


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Block(nn.Module):
    def __init__(self, width, heads, ffn):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        self.qkv, self.o = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * ffn, bias=False), nn.Linear(ffn, width, bias=False)

    def forward(self, x, cos, sin):
        b, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, width))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(functional.silu(gate) * up)


class Llama(nn.Module):
    def __init__(self, shape, context):
        super().__init__()
        layers, width, heads, ffn, vocab = SHAPES[shape]
        self.table = nn.Embedding(vocab, width)
        nn.init.normal_(self.table.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads, ffn) for _ in range(layers))
        self.norm = nn.RMSNorm(width, 1e-5)
        d = width // heads
        angles = torch.outer(torch.arange(context).float(), 10000 ** (-torch.arange(0, d, 2).float() / d)).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens, targets):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = functional.linear(self.norm(x), self.table.weight)
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def main():
    shape, context, threads, variant, tokens, at_once, steps = sys.argv[1:8]
    context, threads, tokens, at_once, steps = map(int, (context, threads, tokens, at_once, steps))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Llama(shape, context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(model) if variant == "compile" else model
    ids = torch.randint(0, SHAPES[shape][4], (tokens // context, context + 1))
    rows = at_once // context
    seconds = []
    for step in range(steps + 1):
        start = time.perf_counter()
        for at in range(0, tokens // context, rows):
            part = ids[at:at + rows]
            with torch.autocast("cpu", torch.bfloat16):
                loss = run(part[:, :-1], part[:, 1:]) * (at_once / tokens)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step > 0:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(json.dumps({"shape": shape, "context": context, "threads": threads, "variant": variant, "tokens": tokens,
                      "at_once": at_once, "seconds": median, "tokens_per_second": tokens / median,
                      "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                      "version": torch.__version__}))


main()
