#!/usr/bin/env python3
"""Golden logits of SmolLM2-135M-Instruct by PyTorch (transformers' LlamaForCausalLM) in fp32, on the very weights of the
GGUF file as the Python package `gguf` dequantizes them.

    tools/make_smollm2_golden.py MODEL.gguf tests/golden/smollm2

Needs torch, transformers and gguf (tools only; nothing of this runs in a build). Writes prompts.json: per prompt its token
ids, the positions kept, and of each position the 16 likeliest tokens with their logits and the log of the sum of exp of
all logits. And answers.json: the perplexity of the beginning of a text (PPL_WINDOWS stretches of PPL_TOKENS, each by
itself), and to each of QUESTIONS the greedy answer with, at each place, the runner-up and how much less likely it is.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
from family_gguf import to_halves
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
PPL_WINDOWS, PPL_TOKENS = 3, 512
ANSWER = 32  # tokens
QUESTIONS = [
    *(f"What is the capital of {c}?" for c in ("France", "Japan", "Egypt", "Canada", "Peru", "Kenya", "Norway", "India")),
    *(f"What is {a} plus {b}?" for a, b in ((2, 3), (10, 7), (25, 25), (99, 1))),
    *(f"Explain {t} in one sentence." for t in (
        "gravity", "photosynthesis", "inflation", "a black hole", "the water cycle", "evolution", "electricity", "a recipe")),
    *(f"Write a short poem about {t}." for t in ("the sea", "winter", "a cat", "the moon", "an old tree", "rain")),
    *(f"Translate '{t}' into {l}." for t, l in (
        ("good morning", "Spanish"), ("thank you", "French"), ("I am hungry", "German"), ("where is the station", "Italian"))),
    *(f"Who {t}?" for t in (
        "wrote Romeo and Juliet", "painted the Mona Lisa", "discovered penicillin", "was the first person on the Moon",
        "invented the telephone", "was Marie Curie")),
    *(f"Give me three tips for {t}." for t in ("learning to cook", "sleeping well", "saving money", "running faster")),
    *(f"Write a Python function that {t}." for t in (
        "adds two numbers", "reverses a string", "checks whether a number is prime", "sorts a list")),
    "Tell me a story about a dragon and a child.", "What should I pack for a week in the mountains?",
    "Summarize the plot of Cinderella.", "Is it better to read books or to watch films?",
    "List the planets of the solar system.", "How do airplanes stay in the air?",
]
NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}


def field(reader, key):
    value = reader.fields[key]
    return value.parts[value.data[0]][0]


def load(path):
    reader = GGUFReader(path)
    heads, kv_heads = int(field(reader, "llama.attention.head_count")), int(field(reader, "llama.attention.head_count_kv"))
    state = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] == "attn_q":
                values = to_halves(values, heads)
            if parts[2] == "attn_k":
                values = to_halves(values, kv_heads)
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


def perplexity(model, ids):
    """Of all tokens but the first of each window."""
    total = 0.0
    for window in range(PPL_WINDOWS):
        part = torch.tensor([ids[window * PPL_TOKENS:(window + 1) * PPL_TOKENS]])
        logits = model(part).logits[0].double()
        total -= torch.log_softmax(logits[:-1], -1).gather(1, part[0, 1:, None]).sum().item()
    return float(np.exp(total / (PPL_WINDOWS * (PPL_TOKENS - 1))))


def greedy(model, ids):
    """[[token, runner-up, difference of their logits], ...], to the end of the answer at most."""
    answer, cache, past = [], torch.tensor([ids]), None
    while len(answer) < ANSWER:
        out = model(cache, past_key_values=past, use_cache=True)
        top = torch.topk(out.logits[0, -1].double(), 2)
        first, second = top.indices.tolist()
        answer.append([first, second, round((top.values[0] - top.values[1]).item(), 6)])
        past, cache = out.past_key_values, torch.tensor([[first]])
        if first == 2:  # <|im_end|>
            break
    return answer


def write_answers(model, encode, folder):
    text = (Path(__file__).parent.parent / "tests/data/text/tinyshakespeare.txt").read_text()[:12000]
    ids = encode(text)[:PPL_WINDOWS * PPL_TOKENS]
    assert len(ids) == PPL_WINDOWS * PPL_TOKENS and len(QUESTIONS) == 50
    with torch.no_grad():
        answers = [{"question": question, "answer": greedy(model, encode(
            f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"))} for question in QUESTIONS]
        result = {"torch": torch.__version__, "perplexity": perplexity(model, ids), "windows": PPL_WINDOWS,
                  "window_tokens": PPL_TOKENS, "answers": answers}
    (folder / "answers.json").write_text(json.dumps(result).replace('{"question', '\n{"question') + "\n")


def main():
    model, vocabulary, merges = load(sys.argv[1])
    encode = encoder(vocabulary, merges)
    write_answers(model, encode, Path(sys.argv[2]))
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
