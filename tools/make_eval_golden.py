#!/usr/bin/env python3
"""What the lm-evaluation-harness and PyTorch make of our small files of questions, and of a text's perplexity.

    tools/make_eval_golden.py tests/golden/eval

Needs torch, transformers, safetensors and lm_eval (pip install lm_eval; --no-deps is enough beside those). The wordings
are the harness's own: its YAML files and their functions, filled in here without its downloads. The models are the tiny
ones of tests/golden/families.
"""
import csv
import importlib.util
import json
import math
import sys
import types
from pathlib import Path

import jinja2.nativetypes
import numpy as np
import torch
import transformers
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.modules.setdefault("datasets", types.SimpleNamespace(Dataset=object))  # named in hints alone
import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean_stderr
from lm_eval.models.huggingface import HFLM

ROOT = Path(__file__).parent.parent
TASKS = Path(lm_eval.__file__).parent / "tasks"
MODELS = ["llama3", "mistral", "qwen3"]  # BOS and BPE, BOS and SentencePiece, no BOS
# file: its YAML in lm_eval/tasks; None: worded here, as docs/guides/eval.md says.
FILES = {"hellaswag_val.jsonl": "hellaswag/hellaswag.yaml", "ARC-Easy-Test.jsonl": "arc/arc_easy.yaml",
         "arc_parts.jsonl": "arc/arc_easy.yaml", "small_numbers_test.csv": "mmlu/default/_default_template_yaml",
         "piqa.jsonl": "piqa/piqa.yaml", "boolq.jsonl": "super_glue/boolq/default.yaml",
         "winogrande.jsonl": "winogrande/default.yaml", "plain.jsonl": None}
SHOTS = 2  # of small_numbers_dev.csv before small_numbers_test.csv
TEXT, TEXT_BYTES, WINDOW = "tests/data/text/tinyshakespeare.txt", 3000, 128


def read_yaml(path):
    """A task's fields; `!function file.name` becomes that function."""
    def function(loader, node):
        module, name = loader.construct_scalar(node).rsplit(".", 1)
        spec = importlib.util.spec_from_file_location(module, path.parent / f"{module}.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return getattr(loaded, name)

    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", function)
    return yaml.load(path.read_text(), loader)


class Docs(list):
    def map(self, f):
        return Docs(f(doc) for doc in self)


def documents(path):
    """As Hugging Face's data sets have them, where the published files differ."""
    if path.suffix == ".csv":
        return [{"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5])}
                for row in csv.reader(path.open(newline="")) if row]
    docs = [json.loads(line) for line in path.read_text().splitlines() if line]
    labels = path.with_name(path.stem + "-labels.lst")
    for i, doc in enumerate(docs):
        if labels.exists():
            doc["label"] = int(labels.read_text().split()[i])
        if isinstance(doc.get("question"), dict):
            nested = doc["question"]
            doc["question"] = nested["stem"]
            doc["choices"] = {key: [choice[key] for choice in nested["choices"]] for key in ("text", "label")}
        if "passage" in doc:
            doc["label"] = int(doc["answer"] if "answer" in doc else doc["label"])
    return docs


def filled(field, doc):
    """A field of a YAML file for one document: a function, a template, a key or a value."""
    if callable(field):
        return field(doc)
    if not isinstance(field, str):
        return field
    if field in doc:
        return doc[field]
    text = jinja2.Environment().from_string(field).render(**doc)
    return yaml.safe_load(text) if text.isdigit() else text


def choices_of(task, doc):
    field = task["doc_to_choice"]
    if isinstance(field, str) and field not in doc:
        return jinja2.nativetypes.NativeEnvironment().from_string(field).render(**doc)
    return filled(field, doc)


def worded(path, yaml_name):
    """[([(context, continuation)...], choices, right)...]"""
    docs = documents(path)
    if yaml_name is None:
        return [plain(doc) for doc in docs]
    task = read_yaml(TASKS / yaml_name)
    if "process_docs" in task:
        docs = task["process_docs"](Docs(docs))
    questions = []
    for doc in docs:
        choices, text, target = choices_of(task, doc), filled(task["doc_to_text"], doc), filled(task["doc_to_target"], doc)
        if isinstance(text, int):  # the harness's multiple inputs: the right one by number, one target
            questions.append(([(choice, " " + target) for choice in choices], [target] * len(choices), text))
        else:
            right = doc["gold"] if "gold" in doc else target
            questions.append(([(text, " " + choice) for choice in choices], choices, int(right)))
    return questions


def plain(doc):
    context = doc["context"] if "context" in doc else f"Question: {doc['question']}\nAnswer:"
    right = next(doc[key] for key in ("label", "answer", "gold") if key in doc)
    if isinstance(right, str):
        right = doc["choices"].index(right) if right in doc["choices"] else "ABCD".index(right)
    return [(context, " " + choice) for choice in doc["choices"]], doc["choices"], right


def measured(model, questions, preamble=""):
    requests = [Instance("loglikelihood", {}, (preamble + context, continuation), i)
                for pairs, _, _ in questions for i, (context, continuation) in enumerate(pairs)]
    found = [result[0] for result in model.loglikelihood(requests, disable_tqdm=True)]
    result = {"log_likelihoods": [round(x, 5) for x in found]}
    lengths = {"acc": lambda choice: 1, "acc_norm": len, "acc_bytes": lambda choice: len(choice.encode())}
    for name, length in lengths.items():
        scores, at = [], 0
        for pairs, choices, right in questions:
            sums = np.array(found[at:at + len(pairs)]) / [float(length(choice)) for choice in choices]
            scores.append(float(np.argmax(sums) == right))
            at += len(pairs)
        result[name], result[name + "_stderr"] = float(np.mean(scores)), mean_stderr(scores)
    return result


def losses(model, ids, first):
    """Negative log-probabilities of ids[first:]."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    every = -torch.log_softmax(logits[:-1], -1).gather(1, torch.tensor(ids)[1:, None])[:, 0]
    return every[first - 1:].tolist()


def perplexities(model, tokenizer):
    text = (ROOT / TEXT).read_text()[:TEXT_BYTES]
    ids = tokenizer.encode(text, add_special_tokens=False)
    bos = tokenizer.encode("", add_special_tokens=True)[:1]
    result = {"bos": bool(bos)}

    def add(name, found):
        mean, sd = np.mean(found), np.std(found, ddof=1)
        result[name] = {"perplexity": math.exp(mean), "stderr": math.exp(mean) * sd / math.sqrt(len(found)), "tokens": len(found)}

    size = WINDOW - len(bos)
    windows = [bos + ids[i:i + size] for i in range(0, len(ids), size)]
    add("plain", [x for window in windows if len(window) > 1 for x in losses(model, window, 1)])
    # llama-perplexity: BOS once before the text, then in place of each window's first token.
    stream, half = bos + ids, []
    for i in range(0, len(stream) - WINDOW + 1, WINDOW):
        half += losses(model, bos + stream[i + len(bos):i + WINDOW], WINDOW // 2 + 1)
    add("second_half", half)
    if not bos:  # https://huggingface.co/docs/transformers/perplexity
        strided, before = [], 0
        for begin in range(0, len(ids), WINDOW // 4):
            end = min(begin + WINDOW, len(ids))
            strided += losses(model, ids[begin:end], max(len(range(begin, end)) - (end - before), 1))
            before = end
            if end == len(ids):
                break
        add("strided", strided)
    return result


def only_tokens(known):
    """A head may have more rows than there are tokens: those are none that could follow."""
    def hook(_, __, output):
        output.logits[..., known:] = -math.inf
    return hook


def main(folder):
    questions = {name: worded(folder / name, yaml_name) for name, yaml_name in FILES.items()}
    shots = worded(folder / "small_numbers_dev.csv", FILES["small_numbers_test.csv"])[:SHOTS]
    about = "The following are multiple choice questions (with answers) about small numbers.\n\n"
    golden = {"lm_eval": lm_eval.__version__, "torch": torch.__version__, "transformers": transformers.__version__, "models": {}}
    for name in MODELS:
        path = ROOT / "tests/golden/families" / name
        torch_model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        tokenizer = AutoTokenizer.from_pretrained(path)
        torch_model.register_forward_hook(only_tokens(len(tokenizer)))
        model = HFLM(pretrained=torch_model, tokenizer=tokenizer, backend="causal", batch_size=1)
        entry = {"perplexity": perplexities(torch_model, tokenizer), "tasks": {}}
        for file, asked in questions.items():
            entry["tasks"][file] = measured(model, asked, about if file.endswith(".csv") else "")
        solved = "".join(pairs[right][0] + pairs[right][1] + "\n\n" for pairs, _, right in shots)
        entry["tasks"]["shots"] = measured(model, questions["small_numbers_test.csv"], about + solved)
        golden["models"][name] = entry
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
