#!/usr/bin/env python3
"""Golden logits of SmolLM2-135M-Instruct by PyTorch (transformers' LlamaForCausalLM) in fp32, on the very weights of the
GGUF file as the Python package `gguf` dequantizes them.

    tools/make_smollm2_golden.py MODEL.gguf tests/golden/smollm2

Needs torch, transformers and gguf (tools only; nothing of this runs in a build). Writes prompts.json: per prompt its token
ids, the positions kept, and of each position the 16 likeliest tokens with their logits and the log of the sum of exp of
all logits.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import LlamaConfig, LlamaForCausalLM

PROMPTS = {
    "capital": "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "code": "def fibonacci(n):\n    ",
    "prose": "It is a truth universally acknowledged, that a single man in possession of a good fortune,",
    "numbers": "1, 2, 4, 8, 16, 32,",
    "long": "The quick brown fox jumps over the lazy dog. " * 24,
}
KEEP = 16
NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}


def field(reader, key):
    value = reader.fields[key]
    return value.parts[value.data[0]][0]


def half_split(weight, heads):
    """Undoes the converter's permutation of a Llama projection: interleaved rotary pairs back to half-split ones."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def load(path):
    reader = GGUFReader(path)
    heads, kv_heads = int(field(reader, "llama.attention.head_count")), int(field(reader, "llama.attention.head_count_kv"))
    state = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] == "attn_q":
                values = half_split(values, heads)
            if parts[2] == "attn_k":
                values = half_split(values, kv_heads)
            state[f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"] = torch.from_numpy(values.copy())
        elif tensor.name == "token_embd.weight":
            state["model.embed_tokens.weight"] = torch.from_numpy(values.copy())
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        elif tensor.name == "output_norm.weight":
            state["model.norm.weight"] = torch.from_numpy(values.copy())
    config = LlamaConfig(
        hidden_size=int(field(reader, "llama.embedding_length")), num_hidden_layers=int(field(reader, "llama.block_count")),
        intermediate_size=int(field(reader, "llama.feed_forward_length")), num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=state["lm_head.weight"].shape[0],
        rms_norm_eps=float(field(reader, "llama.attention.layer_norm_rms_epsilon")),
        rope_theta=float(field(reader, "llama.rope.freq_base")), max_position_embeddings=int(field(reader, "llama.context_length")),
        tie_word_embeddings=True)
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("rotary" in name for name in missing), (missing, unexpected)
    tokens = reader.fields["tokenizer.ggml.tokens"]
    vocabulary = {bytes(tokens.parts[i]).decode(): n for n, i in enumerate(tokens.data)}
    merges = reader.fields["tokenizer.ggml.merges"]
    merges = [bytes(merges.parts[i]).decode() for i in merges.data]
    return model.eval(), vocabulary, merges


def encoder(vocabulary, merges):
    """The model's own byte-level BPE, by Hugging Face's tokenizers library."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    return lambda text: tokenizer.encode(text).ids


def main():
    model, vocabulary, merges = load(sys.argv[1])
    encode = encoder(vocabulary, merges)
    golden = []
    for name, text in PROMPTS.items():
        ids = encode(text)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].double()
        positions = sorted(set(range(min(4, len(ids)))) | {len(ids) // 2, len(ids) - 1})
        rows = []
        for position in positions:
            top = torch.topk(logits[position], KEEP)
            rows.append({"position": position, "tokens": top.indices.tolist(), "logits": [round(v, 6) for v in top.values.tolist()],
                         "log_sum_exp": round(torch.logsumexp(logits[position], 0).item(), 6)})
        golden.append({"name": name, "text": text, "ids": ids, "rows": rows})
    path = Path(sys.argv[2]) / "prompts.json"
    path.write_text(json.dumps({"torch": torch.__version__, "prompts": golden}, indent=1) + "\n")


if __name__ == "__main__":
    main()
