#!/usr/bin/env python3
"""Makes tests/golden/train: what PyTorch learns in 20 fp32 steps, from weights and data that are written down.

    pip install torch transformers
    python3 tools/make_train_golden.py

For a tiny model of each family: the weights of the start, the loss of each step, the length of the gradients, and all
gradients of step 1. Two documents a step, kept apart; AdamW on matrices with decay, on vectors without; clipping at 1.
"""

import json
import os

import torch
import transformers

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "train")
STEPS, LENGTHS, VOCAB = 20, (13, 20), 48
RATE, DECAY, BETAS, EPSILON, CLIP = 3e-3, 0.1, (0.9, 0.95), 1e-8, 1.0
SIZES = {"vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
         "attn_implementation": "eager"}


def make_model(family):
    config = {
        "llama": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=False),
        "qwen2": lambda: transformers.Qwen2Config(**SIZES, tie_word_embeddings=True),
        "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True),
    }[family]()
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():  # no norm of ones and no bias of zeros, or mistakes there would not be seen
        for name, parameter in model.named_parameters():
            vector = parameter.dim() == 1
            noise = torch.randn_like(parameter) * (0.1 if vector else 0.15)
            parameter.copy_(noise + (1.0 if vector and not name.endswith("bias") else 0.0))
    return model


def step_loss(model, step):
    """The mean over both documents' tokens of the cross-entropy."""
    total = 0
    for i, length in enumerate(LENGTHS):
        ids = document(step, i, length)
        logits = model(input_ids=torch.tensor([ids[:-1]])).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
    return total / sum(length - 1 for length in LENGTHS)


def document(step, i, length):
    """A run that can be learnt, with some noise: the test makes the same."""
    return [(7 * t + 3 * i + (step * t % 5)) % VOCAB for t in range(length)]


def numbers(model, of):
    return torch.cat([of(parameter).detach().reshape(-1) for parameter in model.parameters()]).numpy().tobytes()


def train(family):
    torch.manual_seed(11)
    model = make_model(family)
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": DECAY},
              {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPSILON)
    weights, gradients, losses, norms = numbers(model, lambda p: p), None, [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = step_loss(model, step)
        loss.backward()
        gradients = gradients or numbers(model, lambda p: p.grad)
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, CLIP)))
        optimizer.step()
        losses.append(float(loss.detach()))
    with open(os.path.join(FOLDER, f"{family}.f32"), "wb") as file:
        file.write(weights + gradients)
    theta = model.config.rope_parameters["rope_theta"]
    head_dim = getattr(model.config, "head_dim", None) or SIZES["hidden_size"] // SIZES["num_attention_heads"]
    return {"family": family, "losses": losses, "gradient_norms": norms, "rope_theta": theta, "head_dim": head_dim,
            "tied": model.config.tie_word_embeddings,
            "parameters": [{"name": n, "shape": list(p.shape)} for n, p in model.named_parameters()]}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    golden = {"made_by": f"tools/make_train_golden.py, torch {torch.__version__}, transformers "
                         f"{transformers.__version__}",
              "sizes": {key: value for key, value in SIZES.items() if key != "attn_implementation"},
              "lengths": LENGTHS, "rate": RATE, "decay": DECAY, "betas": BETAS, "epsilon": EPSILON, "clip": CLIP,
              "models": [train(family) for family in ("llama", "qwen2", "qwen3")]}
    with open(os.path.join(FOLDER, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
