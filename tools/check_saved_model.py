#!/usr/bin/env python3
"""Models that `tokenworks quantize` wrote, read by the programs they are for: the folder by transformers, the file by the
Python package gguf. Both must give the golden values of tests/golden/families, which transformers computed from the
models that were there before (and our own forward is held to them in src/model/save_test.cc).

usage: check_saved_model.py PROGRAM
Needs torch, transformers and gguf; without them it says so and returns 77.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FAMILIES = Path(__file__).parent.parent / "tests/golden/families"
BOUND = 1e-4  # fp32 by another order of additions; logits are up to about 10


def save(program, model, out):
    done = subprocess.run([program, "quantize", str(model), str(out), "--type", "f32"], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    return None


def golden_rows(golden):
    import numpy as np
    return np.fromfile(FAMILIES / golden["logits"], np.float32).reshape(-1, golden["vocab"])


def largest_difference(model, golden):
    import torch
    rows, at, largest = golden_rows(golden), 0, 0.0
    for prompt in golden["prompts"]:
        with torch.no_grad():
            logits = model(torch.tensor([prompt["ids"]])).logits[0].float().numpy()
        largest = max(largest, float(abs(logits - rows[at:at + len(logits)]).max()))
        at += len(logits)
    assert at == len(rows)
    return largest


def check_folder(folder, golden, text):
    """The largest difference of a logit, and the lines that transformers' tokenizer cuts otherwise."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                       output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        missing = [key for key in info[kind] if not (key == "lm_head.weight" and model.config.tie_word_embeddings)]
        assert not missing, f"{kind}: {missing}"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wrong = [line["text"] for line in text["lines"] if tokenizer.encode(line["text"]) != line["ids"]]
    chat = tokenizer.apply_chat_template(text["messages"], tokenize=False, add_generation_prompt=True)
    if chat != text["chat"]:
        wrong.append(f"chat: {chat!r}")
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    if golden.get("end_tokens") and set(ends) != set(golden["end_tokens"]):
        wrong.append(f"end tokens {ends}")
    return largest_difference(model, golden), wrong, model


def check_file(path, golden, model):
    """The file's weights by the package gguf, computed by transformers in the model that has its configuration."""
    from family_gguf import dequantized_state
    model.load_state_dict(dequantized_state(path, model))
    return largest_difference(model, golden)


def check(program, golden, text, place):
    source = FAMILIES / golden["path"]
    folder, file = place / golden["name"], place / f"{golden['name']}.gguf"
    refused = save(program, source, folder) or save(program, source, file)
    if refused:
        return [refused]
    difference, wrong, model = check_folder(folder, golden, text)
    in_file = check_file(str(file), golden, model)
    print(f"{golden['name']:20} folder {difference:.2e}   gguf {in_file:.2e}")
    return wrong + [f"logits differ by {d}" for d in (difference, in_file) if not d < BOUND]


def main():
    try:
        import gguf, torch, transformers  # noqa: F401, E401
    except ImportError as missing:
        print(f"skipped: {missing}")
        return 77
    transformers.utils.logging.disable_progress_bar()
    program, status = sys.argv[1], 0
    data = json.loads((FAMILIES / "golden.json").read_text())
    with tempfile.TemporaryDirectory() as place:
        for golden in data["models"]:
            if golden["name"] == "mistral-Q8_0":
                continue  # a SentencePiece tokenizer of a GGUF file is not written to a folder
            for problem in check(program, golden, data["texts"][golden["text"]], Path(place)):
                print(f"{golden['name']}: {problem}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
