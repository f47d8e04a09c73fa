#!/usr/bin/env python3
"""Makes tests/golden/objectives: what PyTorch learns from a teacher and from preferences, in fp32.

    pip install torch transformers safetensors
    python3 tools/make_objective_golden.py

Two tiny Llama models, `student` and `teacher`, as Hugging Face folders. For each objective the losses of some steps
(AdamW without decay, clipping at 1) and all gradients of the first:
- distillation: (1 - weight) * cross-entropy of the text + weight * temperature² * cross-entropy of the teacher's `top`
  likeliest tokens, by their probabilities at that temperature among themselves;
- preference: DPO (arXiv 2305.18290) as TRL's sigmoid loss, with the student of the start for the reference.
"""

import copy
import json
import os
import shutil

import safetensors.torch
import tokenizers
import torch
import transformers
from torch.nn.functional import cross_entropy, logsigmoid, log_softmax, softmax

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "objectives")
STEPS, LENGTHS, VOCAB, PROMPT = 5, (13, 20, 9, 16), 48, 4
RATE, BETAS, EPSILON, CLIP = 3e-3, (0.9, 0.95), 1e-8, 1.0
DISTILLATIONS = [{"name": "top1", "top": 1, "weight": 0.9, "temperature": 1.0},
                 {"name": "top4", "top": 4, "weight": 0.5, "temperature": 2.0},
                 {"name": "all", "top": VOCAB, "weight": 1.0, "temperature": 1.5}]
PREFERENCES = [{"name": "mild", "beta": 0.1}, {"name": "strong", "beta": 1.0}]


def make_model(layers, width, seed):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(vocab_size=VOCAB, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
                                      num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                                      rms_norm_eps=1e-5, tie_word_embeddings=False, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            vector = parameter.dim() == 1
            parameter.copy_(torch.randn_like(parameter) * (0.1 if vector else 0.15) + (1.0 if vector else 0.0))
    return model


def save(model, folder):
    """With a tokenizer of single characters, which a model that is served must have."""
    model.save_pretrained(folder)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={chr(33 + i): i for i in range(VOCAB)}, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.save(os.path.join(folder, "tokenizer.json"))


def document(step, i, length):
    """A run that can be learnt, with some noise: the test makes the same."""
    return [(7 * t + 3 * i + (step * t % 5)) % VOCAB for t in range(length)]


def logits_of(model, ids):
    return model(input_ids=torch.tensor([ids[:-1]])).logits[0]


def distillation_loss(student, teacher, step, how):
    total = 0
    for i, length in enumerate(LENGTHS):
        ids = document(step, i, length)
        logits = logits_of(student, ids)
        with torch.no_grad():
            best = logits_of(teacher, ids).topk(how["top"], dim=-1)
            probabilities = softmax(best.values / how["temperature"], dim=-1)
        label = cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
        log_p = log_softmax(logits / how["temperature"], dim=-1).gather(-1, best.indices)
        taught = -(probabilities * log_p).sum() * how["temperature"] ** 2
        total = total + (1 - how["weight"]) * label + how["weight"] * taught
    return total / sum(length - 1 for length in LENGTHS)


def answer_log_p(model, ids):
    """Of the tokens after the prompt's."""
    log_p = log_softmax(logits_of(model, ids), dim=-1)
    return log_p[range(len(ids) - 1), ids[1:]][PROMPT - 1:].sum()


def preference_loss(student, reference, step, how):
    """The loss, and by pairs beta * the log-ratio of the chosen and of the rejected answer."""
    total, rewards = 0, []
    for pair in range(len(LENGTHS) // 2):
        ratios = []
        for i in (2 * pair, 2 * pair + 1):
            ids = document(step, i, LENGTHS[i])
            with torch.no_grad():
                held = answer_log_p(reference, ids)
            ratios.append(answer_log_p(student, ids) - held)
        total = total - logsigmoid(how["beta"] * (ratios[0] - ratios[1]))
        rewards.append([how["beta"] * float(ratio.detach()) for ratio in ratios])
    return total / (len(LENGTHS) // 2), rewards


def train(student, loss_of, name):
    student = copy.deepcopy(student)
    parameters = dict(student.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=0.0)
    steps = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss, rewards = loss_of(student, step)
        loss.backward()
        if step == 0:
            safetensors.torch.save_file({n: p.grad.contiguous() for n, p in parameters.items()},
                                        os.path.join(FOLDER, f"{name}.safetensors"))
        torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        optimizer.step()
        steps.append({"loss": float(loss.detach()), **({"rewards": rewards} if rewards else {})})
    return steps


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    student, teacher = make_model(2, 16, 3), make_model(2, 24, 4)
    for name, model in (("student", student), ("teacher", teacher)):
        save(model, os.path.join(FOLDER, name))
    golden = {"made_by": f"tools/make_objective_golden.py, torch {torch.__version__}, transformers {transformers.__version__}",
              "vocab": VOCAB, "lengths": LENGTHS, "prompt": PROMPT, "rate": RATE, "betas": BETAS, "epsilon": EPSILON,
              "clip": CLIP, "distillations": [], "preferences": []}
    for how in DISTILLATIONS:
        steps = train(student, lambda s, step, how=how: (distillation_loss(s, teacher, step, how), None), how["name"])
        golden["distillations"].append({**how, "steps": steps})
    for how in PREFERENCES:
        steps = train(student, lambda s, step, how=how: preference_loss(s, student, step, how), how["name"])
        golden["preferences"].append({**how, "steps": steps})
    with open(os.path.join(FOLDER, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
