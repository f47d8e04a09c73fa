#!/usr/bin/env python3
"""A forward pass of a llama GGUF file in float64 numpy, written apart from the C++ code: the oracle for stories260K.

  tools/stories_reference.py tests/data/models/stories260K.gguf tests/data/models/README.md \
      tests/golden/stories260K

Checks that the greedy text from the start token equals the text published with the model (the fenced block of the
README that starts with "Once upon a time"), then writes the golden files (see the README in the output folder).
Needs numpy and gguf (pip install gguf).
"""
import json
import pathlib
import sys

import gguf
import numpy as np

GOLDEN_ROWS = 32  # positions whose logits are kept
MAX_TOKENS = 256  # llama2.c's default length


class Model:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.weights = {t.name: np.array(t.data, dtype=np.float64) for t in reader.tensors}
        value = lambda key: reader.fields[key].contents()
        self.layers = value("llama.block_count")
        self.heads = value("llama.attention.head_count")
        self.kv_heads = value("llama.attention.head_count_kv")
        self.epsilon = value("llama.attention.layer_norm_rms_epsilon")
        self.base = value("llama.rope.freq_base")
        self.tokens = value("tokenizer.ggml.tokens")
        self.types = value("tokenizer.ggml.token_type")
        self.keys = [[] for _ in range(self.layers)]
        self.values = [[] for _ in range(self.layers)]

    def norm(self, x, name):
        return x / np.sqrt(np.mean(x * x) + self.epsilon) * self.weights[name]

    def rope(self, x, position):
        """x is (heads, head_dim); pairs (0,1), (2,3), ... turn by position * base^(-2i/head_dim)."""
        size = x.shape[-1]
        angle = position * self.base ** (-np.arange(0, size, 2) / size)
        even, odd = x[:, 0::2], x[:, 1::2]
        out = np.empty_like(x)
        out[:, 0::2] = even * np.cos(angle) - odd * np.sin(angle)
        out[:, 1::2] = even * np.sin(angle) + odd * np.cos(angle)
        return out

    def attention(self, x, layer, position):
        w = lambda name: self.weights[f"blk.{layer}.{name}.weight"]
        q = self.rope((w("attn_q") @ x).reshape(self.heads, -1), position)
        self.keys[layer].append(self.rope((w("attn_k") @ x).reshape(self.kv_heads, -1), position))
        self.values[layer].append((w("attn_v") @ x).reshape(self.kv_heads, -1))
        group = self.heads // self.kv_heads
        keys = np.repeat(np.array(self.keys[layer]), group, axis=1)
        values = np.repeat(np.array(self.values[layer]), group, axis=1)
        scores = np.einsum("hd,thd->ht", q, keys) / np.sqrt(q.shape[-1])
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return w("attn_output") @ np.einsum("ht,thd->hd", p, values).ravel()

    def feed_forward(self, x, layer):
        w = lambda name: self.weights[f"blk.{layer}.{name}.weight"]
        gate = w("ffn_gate") @ x
        return w("ffn_down") @ (gate / (1 + np.exp(-gate)) * (w("ffn_up") @ x))

    def step(self, token, position):
        """Logits after `token`; keys and values of earlier positions are kept."""
        x = self.weights["token_embd.weight"][token]
        for layer in range(self.layers):
            x = x + self.attention(self.norm(x, f"blk.{layer}.attn_norm.weight"), layer, position)
            x = x + self.feed_forward(self.norm(x, f"blk.{layer}.ffn_norm.weight"), layer)
        output = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return output @ self.norm(x, "output_norm.weight")

    def text(self, ids):
        """Text of ids after the start token: byte tokens are bytes, U+2581 is a space, the first space is dropped."""
        out = b""
        for i in ids:
            token = self.tokens[i]
            out += bytes([int(token[3:5], 16)]) if self.types[i] == 6 else token.replace("\u2581", " ").encode()
        return out.decode().removeprefix(" ")


def published_text(readme):
    blocks = pathlib.Path(readme).read_text().split("```")
    return next(b.strip() for b in (x.lstrip("text") for x in blocks) if b.strip().startswith("Once upon a time"))


def main():
    path, readme, out = sys.argv[1:4]
    model = Model(path)
    ids, rows, margins, token = [], [], [], 1
    for position in range(MAX_TOKENS):
        logits = model.step(token, position)
        rows.append(logits)
        top = np.sort(logits)[-2:]
        margins.append(top[1] - top[0])
        token = int(np.argmax(logits))
        if token == 1:
            break
        ids.append(token)
    text = model.text(ids)
    if text.strip() != published_text(readme):
        raise SystemExit(f"the greedy text differs from the published one:\n{text}")
    print(f"greedy text of {len(ids)} tokens equals the published one; smallest lead of a choice {min(margins):.2e}")
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    golden = {"start_token": 1, "greedy_ids": ids, "text": text, "smallest_lead": min(margins),
              "logits_rows": GOLDEN_ROWS, "logits_columns": len(rows[0])}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    (folder / "greedy.json").write_text("{\n" + lines + "\n}\n")
    np.array(rows[:GOLDEN_ROWS]).astype("<f4").tofile(folder / "logits.f32")


if __name__ == "__main__":
    main()
