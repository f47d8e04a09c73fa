#!/usr/bin/env python3
"""Makes tests/golden/train: what PyTorch learns in 20 fp32 steps, from weights and data that are written down.

    pip install torch transformers
    python3 tools/make_train_golden.py

For a tiny model of each family: the weights of the start, the loss of each step, the length of the gradients, and all
gradients of step 1. Two documents a step, kept apart; AdamW on matrices with decay, on vectors without; clipping at 1.

And the losses of the other optimizers from the same start, with decay and clipping alike (not GPT-2, whose queries, keys
and values are one matrix to PyTorch and three here):
- muon: torch.optim.Muon on the matrices of the layers, with its rate matched to AdamW's, and AdamW on all else. PyTorch
  makes its update orthogonal in bf16; here its own code runs with fp32 in that place, so that a loss can be held to 1e-4;
- adafactor: torch.optim.Adafactor;
- rmsprop: that of Apple's foundation models (arXiv 2407.21075, section 3.2.1, and AXLearn's `adastar_optimizer` as
  `adastar_learner_config` sets it up), which PyTorch has not: the class RmsProp below is the formula written down;
- mup: AdamW with muP (simple) (arXiv 2309.14322, section 3.2.4, and AXLearn's honeycrisp.py) of a model twice as wide as its
  base: updates of the matrices of the layers are halved, their decay is not.
"""

import json
import os
import types

import torch
import torch.optim._muon
import transformers
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

torch.optim._muon.torch = types.SimpleNamespace(**{**vars(torch), "bfloat16": torch.float32})

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "train")
STEPS, LENGTHS, VOCAB = 20, (13, 20), 48
RATE, DECAY, BETAS, EPSILON, CLIP = 3e-3, 0.1, (0.9, 0.95), 1e-8, 1.0
RATES = {"muon": 3e-3, "adafactor": 5e-2, "rmsprop": 3e-3, "mup": 3e-3}
MUP = 0.5
MOMENTUM, RMS_EPSILON = 0.95, 1e-30
SIZES = {"vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
         "attn_implementation": "eager"}
EXPERTS, CHOSEN, BALANCE = 5, 2, 0.05  # the last is the weight of the load-balancing loss
SHARED = 56  # width of Qwen2-MoE's shared expert
MIXTURES = ("mixtral", "qwen2_moe")


def make_model(family):
    config = {
        "llama": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=False),
        "qwen2": lambda: transformers.Qwen2Config(**SIZES, tie_word_embeddings=True),
        "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True),
        "mixtral": lambda: transformers.MixtralConfig(
            **SIZES, num_local_experts=EXPERTS, num_experts_per_tok=CHOSEN, tie_word_embeddings=False),
        "qwen2_moe": lambda: transformers.Qwen2MoeConfig(
            **SIZES, moe_intermediate_size=40, shared_expert_intermediate_size=SHARED, num_experts=EXPERTS,
            num_experts_per_tok=CHOSEN, norm_topk_prob=False, tie_word_embeddings=False),
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=VOCAB, n_embd=16, n_inner=40, n_layer=2, n_head=4, n_positions=64, layer_norm_epsilon=1e-5,
            attn_pdrop=0, embd_pdrop=0, resid_pdrop=0, attn_implementation="eager"),
    }[family]()
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():  # no norm of ones and no bias of zeros, or mistakes there would not be seen
        for name, parameter in model.named_parameters():
            vector = parameter.dim() == 1
            noise = torch.randn_like(parameter) * (0.1 if vector else 0.15)
            parameter.copy_(noise + (1.0 if vector and not name.endswith("bias") else 0.0))
    return model


def step_loss(model, step):
    """The mean over both documents' tokens of the cross-entropy; and with experts, the load-balancing loss of both."""
    total, routed = 0, []
    for i, length in enumerate(LENGTHS):
        ids = document(step, i, length)
        options = {"output_router_logits": True} if model.config.model_type in MIXTURES else {}
        made = model(input_ids=torch.tensor([ids[:-1]]), **options)
        logits = made.logits[0]
        routed.append(made.router_logits if options else ())
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
    layers = tuple(torch.cat(both) for both in zip(*routed))
    balance = load_balancing_loss_func(layers, EXPERTS, CHOSEN) if layers else 0
    return total / sum(length - 1 for length in LENGTHS), balance


def document(step, i, length):
    """A run that can be learnt, with some noise: the test makes the same."""
    return [(7 * t + 3 * i + (step * t % 5)) % VOCAB for t in range(length)]


GPT2_NAMES = {"wte": "model.embed_tokens", "wpe": "model.embed_positions", "ln_f": "model.norm", "ln_1": "input_layernorm",
              "ln_2": "post_attention_layernorm", "attn.c_proj": "self_attn.o_proj", "mlp.c_fc": "mlp.up_proj",
              "mlp.c_proj": "mlp.down_proj"}


def parts(name, values):
    """A parameter's numbers under Llama's names: GPT-2 has linear layers [in, out], and three of them in one."""
    if name.endswith("gate_up_proj"):
        gates, ups = values.chunk(2, dim=1)
        return parts(name.replace("gate_up", "gate"), gates) + parts(name.replace("gate_up", "up"), ups)
    if ".experts." in name:
        place, _, matrix = name.rpartition(".")
        return [(f"{place}.{i}.{matrix}.weight", value) for i, value in enumerate(values)]
    if not name.startswith("transformer."):
        return [(name, values)]
    place, _, kind = name.removeprefix("transformer.").rpartition(".")
    prefix = ""
    if place.startswith("h."):
        _, layer, place = place.split(".", 2)
        prefix = f"model.layers.{layer}."
    if values.dim() == 2 and place not in ("wte", "wpe"):
        values = values.T
    if place == "attn.c_attn":
        return [(f"{prefix}self_attn.{which}_proj.{kind}", part) for which, part in zip("qkv", values.chunk(3))]
    return [(f"{prefix}{GPT2_NAMES[place]}.{kind}", values)]


def named_parts(model, of):
    return [part for name, parameter in model.named_parameters() for part in parts(name, of(parameter).detach())]


def numbers(model, of):
    return torch.cat([values.reshape(-1) for _, values in named_parts(model, of)]).numpy().tobytes()


class RmsProp(torch.optim.Optimizer):
    """raw = g / sqrt(EMA of g^2 + epsilon, bias-corrected), divided by its RMS where that is above 1; the update is the EMA
    of raw, without bias correction; decay is decoupled."""

    def __init__(self, groups, lr):
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.steps = 0

    @torch.no_grad()
    def step(self):
        self.steps += 1
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                squares = BETAS[1] * state.get("squares", 0) + (1 - BETAS[1]) * (p.grad**2 + RMS_EPSILON)
                raw = p.grad / (squares / (1 - BETAS[1]**self.steps)).sqrt()
                raw = raw / max(1.0, float(raw.square().mean().sqrt()))
                update = MOMENTUM * state.get("update", 0) + (1 - MOMENTUM) * raw
                state["squares"], state["update"] = squares, update
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)


class Muon:
    """Muon for the matrices of the layers, AdamW for embeddings, head and vectors."""

    def __init__(self, model, lr):
        hidden = [p for n, p in model.named_parameters() if p.dim() > 1 and ".layers." in n]
        rest = [p for n, p in model.named_parameters() if p.dim() == 1 or ".layers." not in n]
        self.parts = [torch.optim.Muon(hidden, lr=lr, weight_decay=DECAY, momentum=MOMENTUM, nesterov=True,
                                       adjust_lr_fn="match_rms_adamw"),
                      torch.optim.AdamW(decay_groups(rest), lr=lr, betas=BETAS, eps=EPSILON)]

    def zero_grad(self):
        for part in self.parts:
            part.zero_grad()

    def step(self):
        for part in self.parts:
            part.step()


def mup_groups(model):
    hidden = [p for n, p in model.named_parameters() if p.dim() > 1 and ".layers." in n]
    rest = [p for n, p in model.named_parameters() if p.dim() == 1 or ".layers." not in n]
    return [{"params": hidden, "lr": RATES["mup"] * MUP, "weight_decay": DECAY / MUP}, *decay_groups(rest)]


def decay_groups(parameters):
    return [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": DECAY},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]


def make_optimizer(kind, model):
    groups = decay_groups(list(model.parameters()))
    return {"adamw": lambda: torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPSILON),
            "mup": lambda: torch.optim.AdamW(mup_groups(model), lr=RATES["mup"], betas=BETAS, eps=EPSILON),
            "muon": lambda: Muon(model, RATES["muon"]),
            "adafactor": lambda: torch.optim.Adafactor(groups, lr=RATES["adafactor"]),
            "rmsprop": lambda: RmsProp(groups, RATES["rmsprop"])}[kind]()


def losses_with(kind, family):
    torch.manual_seed(11)
    model = make_model(family)
    optimizer, losses = make_optimizer(kind, model), []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss, _ = step_loss(model, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def train(family):
    torch.manual_seed(11)
    model = make_model(family)
    parameters = list(model.parameters())
    optimizer = make_optimizer("adamw", model)
    weights, gradients, losses, norms = numbers(model, lambda p: p), None, [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss, balance = step_loss(model, step)
        (loss + BALANCE * balance).backward()
        gradients = gradients or numbers(model, lambda p: p.grad)
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, CLIP)))
        optimizer.step()
        losses.append(float(loss.detach()))
    with open(os.path.join(FOLDER, f"{family}.f32"), "wb") as file:
        file.write(weights + gradients)
    theta = 10000.0 if family == "gpt2" else model.config.rope_parameters["rope_theta"]
    head_dim = getattr(model.config, "head_dim", None) or SIZES["hidden_size"] // SIZES["num_attention_heads"]
    return {"family": family, "losses": losses, "gradient_norms": norms, "rope_theta": theta, "head_dim": head_dim,
            "tied": model.config.tie_word_embeddings,
            "others": {} if family in ("gpt2", *MIXTURES) else {kind: losses_with(kind, family) for kind in RATES},
            **({"experts": EXPERTS, "chosen": CHOSEN, "balance": BALANCE} if family in MIXTURES else {}),
            **({"shared_width": SHARED} if family == "qwen2_moe" else {}),
            "parameters": [{"name": n, "shape": list(p.shape)} for n, p in named_parts(model, lambda p: p)]}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    golden = {"made_by": f"tools/make_train_golden.py, torch {torch.__version__}, transformers "
                         f"{transformers.__version__}",
              "sizes": {key: value for key, value in SIZES.items() if key != "attn_implementation"},
              "lengths": LENGTHS, "rate": RATE, "decay": DECAY, "betas": BETAS, "epsilon": EPSILON, "clip": CLIP,
              "rates": RATES, "momentum": MOMENTUM, "mup": MUP,
              "models": [train(family) for family in ("llama", "qwen2", "qwen3", "gpt2", *MIXTURES)]}
    with open(os.path.join(FOLDER, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
