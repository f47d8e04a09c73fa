#!/usr/bin/env python3
"""Makes tests/golden/lora: adapters that peft wrote for the tiny models of tests/golden/families, what PyTorch computes
with them, and how it trains two of them.

    pip install torch transformers peft safetensors gguf
    python3 tools/make_lora_golden.py tests/golden

For each adapter: its folder, and the logits of a prompt in fp32. Of those that are trained also the losses of some
steps in fp32 (two documents a step, kept apart; AdamW with decay; clipping at 1) and all gradients of the first.
The matrices B are not zero, as they would be at the start, or half of the gradients would be.
"""
import json
import shutil
import sys
from pathlib import Path

import peft
import safetensors.torch
import torch
import transformers

from family_gguf import dequantized_state

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = [
    {"name": "llama3", "base": "llama3", "folder": "llama3", "dtype": torch.float32, "train": True,
     "config": {"r": 4, "lora_alpha": 8, "target_modules": ALL, "use_rslora": True,
                "rank_pattern": {"layers.0.self_attn.q_proj": 2, "up_proj": 6}, "alpha_pattern": {"down_proj": 3}}},
    {"name": "llama3-gates", "base": "llama3", "folder": "llama3", "dtype": torch.float32,
     "config": {"r": 5, "lora_alpha": 10, "target_modules": ["gate_proj", "up_proj"]}},
    {"name": "qwen2", "base": "qwen2", "folder": "qwen2", "dtype": torch.bfloat16,
     "config": {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}},
    {"name": "qwen3", "base": "qwen3", "folder": "qwen3", "dtype": torch.float16,
     "config": {"r": 3, "lora_alpha": 4, "target_modules": "all-linear"}},
    {"name": "mistral-Q8_0", "base": "mistral-Q8_0.gguf", "folder": "mistral", "dtype": torch.float32, "train": True,
     "config": {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "k_proj", "v_proj", "down_proj"]}},
    # Experts are frozen; the one that every token takes is a layer as any other.
    {"name": "qwen2-moe", "base": "qwen2-moe", "folder": "qwen2-moe", "dtype": torch.float32, "train": True,
     "config": {"r": 4, "lora_alpha": 8,
                "target_modules": ["q_proj", "shared_expert.gate_proj", "shared_expert.up_proj", "shared_expert.down_proj"]}},
]
PROMPT, STEPS, LENGTHS = 24, 5, (13, 20)
RATE, DECAY, BETAS, EPSILON, CLIP = 3e-3, 0.1, (0.9, 0.95), 1e-8, 1.0


def document(step, i, length, vocab):
    """A run that can be learnt, with some noise: the test makes the same."""
    return [(7 * t + 3 * i + (step * t % 5)) % vocab for t in range(length)]


def step_loss(model, step, vocab):
    """The mean over both documents' tokens of the cross-entropy."""
    total = 0
    for i, length in enumerate(LENGTHS):
        ids = document(step, i, length, vocab)
        logits = model(input_ids=torch.tensor([ids[:-1]])).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
    return total / sum(length - 1 for length in LENGTHS)


def train(model, folder, vocab):
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = step_loss(model, step, vocab)
        loss.backward()
        if step == 0:
            safetensors.torch.save_file({name.replace(".default", ""): p.grad for name, p in parameters.items()},
                                        folder / "gradients.safetensors")
        torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def load_base(adapter, families):
    model = transformers.AutoModelForCausalLM.from_pretrained(families / adapter["folder"], dtype=torch.float32,
                                                              attn_implementation="eager")
    if adapter["base"].endswith(".gguf"):
        model.load_state_dict(dequantized_state(families / adapter["base"], model))
    return model


def randomise(model, dtype):
    """Numbers that the type of the file holds exactly."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.copy_((torch.randn_like(p) * (0.15 if "lora_A" in name else 0.2)).to(dtype))


def make(adapter, families, out, ids):
    torch.manual_seed(5)
    base = load_base(adapter, families)
    with torch.no_grad():
        before = base(torch.tensor([ids])).logits[0]
    model = peft.get_peft_model(base, peft.LoraConfig(**adapter["config"]))
    randomise(model, adapter["dtype"])
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    if not (0.3 < float((logits - before).abs().max()) and float((logits - before).abs().max()) < 30):
        sys.exit(f"the adapter {adapter['name']} changes logits by {float((logits - before).abs().max())}: choose others")
    folder = out / adapter["name"]
    model.peft_config["default"].base_model_name_or_path = adapter["folder"]
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    weights = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    safetensors.torch.save_file({name: w.to(adapter["dtype"]) for name, w in weights.items()},
                                folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "logits.f32").write_bytes(logits.float().numpy().tobytes())
    entry = {"name": adapter["name"], "base": adapter["base"], "ids": ids, "vocab": base.config.vocab_size}
    if adapter.get("train"):
        entry["losses"] = train(model, folder, base.config.vocab_size)
    return entry


def main():
    golden = Path(sys.argv[1])
    families, out = golden / "families", golden / "lora"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    prompts = {m["name"]: m["prompts"][0]["ids"][:PROMPT] for m in json.loads((families / "golden.json").read_text())["models"]}
    result = {"made_by": f"tools/make_lora_golden.py, torch {torch.__version__}, transformers {transformers.__version__}, "
                         f"peft {peft.__version__}",
              "lengths": LENGTHS, "rate": RATE, "decay": DECAY, "betas": BETAS, "epsilon": EPSILON, "clip": CLIP,
              "adapters": [make(a, families, out, prompts[a["folder"]]) for a in ADAPTERS]}
    (out / "golden.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
