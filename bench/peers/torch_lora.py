"""The work of bench/peers/lora_steps.cc on PyTorch, transformers and peft: whole steps of a LoRA adapter beside a frozen bf16
model, in bf16 (autocast, the adapter in fp32 as peft makes it), fused AdamW, clipping, scaled-dot-product attention. One JSON
line on standard output.
usage: torch_lora.py FOLDER IDS CONTEXT THREADS eager|compile AT_ONCE STEPS RANK ALPHA RATE"""
import json
import resource
import statistics
import sys
import time

import peft
import torch
import transformers
from torch.nn import functional

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main():
    folder, ids, context, threads, variant, at_once, steps, rank, alpha, rate = sys.argv[1:11]
    context, threads, at_once, steps = map(int, (context, threads, at_once, steps))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa")
    model.config.use_cache = False
    model = peft.get_peft_model(model, peft.LoraConfig(r=int(rank), lora_alpha=float(alpha), target_modules=TARGETS,
                                                       lora_dropout=0.0, task_type="CAUSAL_LM"))
    model.train()
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=float(rate), fused=True)
    run = torch.compile(model) if variant == "compile" else model
    with open(ids, encoding="utf-8") as file:
        ids = torch.tensor(json.load(file))
    ids = ids[:len(ids) // (context + 1) * (context + 1)].view(-1, context + 1)
    tokens, rows = ids.shape[0] * context, at_once // context
    seconds, losses = [], []
    for step in range(steps + 1):
        start = time.perf_counter()
        total = 0.0
        for part in ids.split(rows):
            with torch.autocast("cpu", torch.bfloat16):
                logits = run(input_ids=part[:, :-1]).logits
            loss = functional.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten()) * (len(part) / len(ids))
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
        if step > 0:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(json.dumps({"context": context, "threads": threads, "variant": variant, "tokens": tokens, "at_once": at_once,
                      "seconds": median, "tokens_per_second": tokens / median, "first_loss": losses[0],
                      "last_loss": losses[-1],
                      "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


main()
