#!/usr/bin/env python3
"""Tiny models of every family with random weights, as Hugging Face folders and as GGUF files, and what
transformers (fp32, eager attention) and tokenizers make of them.

    tools/make_family_golden.py tests/golden/families [family ...]

With names it makes those alone and leaves the others as they are.

Needs torch, transformers, safetensors, tokenizers and gguf (tools only; nothing of this runs in a build). The same
versions give the same files: the seeds are fixed. It refuses to write models on which a fault would not show: each
feature of each family must change the logits when it is turned off, and the greedy choices must not be near ties.
"""
import json
import shutil
import sys
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

import family_tokenizers
from family_gguf import dequantized_state, write_gguf

LONG = "The thing in the other room is 42 feet long; it's the question, not the answer.\nSo it is."
SHORT = "the end"
LINES = [LONG, SHORT, "", " ", "  two  spaces\t\ttabs\n\n\nlines ", "I'll say 1234567 times: DON'T!", "café naïve Å 你好 🙂",
         "cafe\u0301 is not composed", "<s>not</s> <|im_start|>user<|eot_id|>", "x = {'a': [1, 2.5]}\r\n\treturn x  "]
CHAT = [{"role": "user", "content": "Is it so?"}, {"role": "assistant", "content": "It is."},
        {"role": "user", "content": "The answer is 42?"}]
NEW_TOKENS = 20

LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32}
SAMPLING = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.2}
# `config`: config.json's own keys; `published`: written as published before transformers 5, which moved the rotary
# keys. `without`: changes of the configuration or weights that must show in the logits.
FAMILIES = [
    {"name": "llama3", "type": "llama", "dtype": torch.float16, "shard": "90KB", "tokenizer": "llama3", "published": True,
     "config": {"hidden_size": 64, "intermediate_size": 88, "num_attention_heads": 8, "num_key_value_heads": 2,
                "vocab_size": 281, "rms_norm_eps": 1e-5, "rope_parameters": {"rope_theta": 10000.0, **LLAMA3_ROPE}},
     "without": [{"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}],
     "sampling": SAMPLING, "gguf": [("F16", "llama-bpe")]},
    {"name": "llama-linear", "type": "llama", "dtype": torch.float32, "tokenizer": "smollm", "published": False,
     "config": {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 1,
                "vocab_size": 280, "tie_word_embeddings": True,
                "rope_parameters": {"rope_theta": 5000.0, "rope_type": "linear", "factor": 4.0}},
     "without": [{"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}],
     "sampling": {}, "gguf": [("BF16", "smollm")]},
    {"name": "mistral", "type": "mistral", "dtype": torch.float32, "tokenizer": "mistral", "published": True,
     "config": {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16,
                "vocab_size": 300, "rms_norm_eps": 1e-5, "sliding_window": 13,
                "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"}},
     "without": [{"sliding_window": None}, {"sliding_window": 12}],
     "sampling": {"do_sample": True, "temperature": 0.7}, "gguf": [("Q8_0", None)]},
    # The window starts at a layer that the model does not have, so it plays no part.
    {"name": "qwen2", "type": "qwen2", "dtype": torch.float32, "tokenizer": "qwen", "published": True,
     "config": {"hidden_size": 64, "intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2,
                "vocab_size": 288, "tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 9,
                "max_window_layers": 2, "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}},
     "without": ["q_proj.bias", "k_proj.bias", "v_proj.bias", {"max_window_layers": 0, "layer_types": None}],
     "sampling": {**SAMPLING, "top_k": 0, "do_sample": False}, "gguf": [("F16", "qwen2")]},
    {"name": "qwen3", "type": "qwen3", "dtype": torch.bfloat16, "tokenizer": "qwen", "published": False,
     "config": {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24,
                "vocab_size": 288, "tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 21,
                "max_window_layers": 0, "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}},
     "without": ["q_norm.weight", "k_norm.weight", {"use_sliding_window": False, "layer_types": None}],
     "sampling": {**SAMPLING, "repetition_penalty": 1.1}, "gguf": [("Q8_0", "qwen2")]},
    # Every weight of the chosen experts counts, and what is not the first choice too.
    {"name": "mixtral", "type": "mixtral", "dtype": torch.float32, "tokenizer": "mistral", "published": True,
     "config": {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
                "vocab_size": 300, "num_local_experts": 5, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
                "sliding_window": 21, "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"}},
     "without": [{"num_experts_per_tok": 1}, {"num_experts_per_tok": 3}, {"sliding_window": None}],
     "sampling": {}, "gguf": [("Q8_0", None)]},
    {"name": "qwen3-moe", "type": "qwen3_moe", "dtype": torch.bfloat16, "tokenizer": "qwen", "published": False,
     "config": {"hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32, "num_attention_heads": 4,
                "num_key_value_heads": 2, "head_dim": 24, "vocab_size": 288, "num_experts": 12, "num_experts_per_tok": 3,
                "norm_topk_prob": True, "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}},
     "without": ["q_norm.weight", {"norm_topk_prob": False}, {"num_experts_per_tok": 2}],
     "sampling": {}, "gguf": [("F16", "qwen2")]},
    {"name": "qwen3-moe-unnormed", "type": "qwen3_moe", "dtype": torch.float32, "tokenizer": "qwen", "published": False,
     "config": {"hidden_size": 32, "intermediate_size": 96, "moe_intermediate_size": 24, "num_attention_heads": 2,
                "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 288, "num_experts": 4, "num_experts_per_tok": 2,
                "norm_topk_prob": False, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}},
     "without": [{"norm_topk_prob": True}], "sampling": {}, "gguf": []},
    # The shared expert is no multiple of the others, and the weights of the chosen are not normed.
    {"name": "qwen2-moe", "type": "qwen2_moe", "dtype": torch.float32, "tokenizer": "qwen", "published": True,
     "config": {"hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
                "shared_expert_intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2,
                "vocab_size": 288, "num_experts": 6, "num_experts_per_tok": 3, "norm_topk_prob": False,
                "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}},
     "without": ["q_proj.bias", "v_proj.bias", "shared_expert_gate.weight", "shared_expert.up_proj.weight",
                 {"norm_topk_prob": True}, {"num_experts_per_tok": 2}],
     "sampling": {}, "gguf": [("F16", "qwen2")]},
    # Published without the prefix "transformer." and, as all of the family, with weights [in, out].
    {"name": "gpt2", "type": "gpt2", "dtype": torch.float32, "tokenizer": "gpt2", "published": True,
     "config": {"hidden_size": 64, "n_inner": 96, "num_attention_heads": 4, "vocab_size": 281,
                "layer_norm_epsilon": 1e-3},
     "without": ["ln_1.bias", "ln_2.bias", "ln_f.bias", "c_attn.bias", "c_fc.bias", "mlp.c_proj.bias",
                 "attn.c_proj.bias", "wpe.weight", "ln_1.weight"],
     "sampling": {}, "gguf": [("Q8_0", "gpt-2")]},
]


def random_model(family, seed):
    config = AutoConfig.for_model(family["type"], num_hidden_layers=2, max_position_embeddings=256, bos_token_id=None,
                                  eos_token_id=None, pad_token_id=None, **family["config"])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            values = torch.randn(weight.shape, generator=random)
            if name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight")):
                values = 1 + 0.4 * values
            elif name.endswith(("embed_tokens.weight", "wte.weight", "wpe.weight")):
                values *= 0.35
            elif weight.ndim == 2 and family["type"] == "gpt2":  # [in, out]; queries and keys come first
                values *= 1 / weight.shape[0] ** 0.5
                if "c_attn" in name:
                    values[:, :2 * weight.shape[0]] *= 2
            elif weight.ndim == 3:  # experts
                values *= 1 / weight.shape[2] ** 0.5
            elif name.endswith("mlp.gate.weight"):  # choices that no rounding changes
                values *= 4 / weight.shape[1] ** 0.5
            elif weight.ndim == 2:  # peaked attention, so that positions and windows matter
                values *= (2.0 if "q_proj" in name or "k_proj" in name else 1.0) / weight.shape[1] ** 0.5
            weight.copy_(values.to(family["dtype"]))
    return model.eval()


def as_published(config):
    """config.json as it was before transformers 5."""
    if rope := config.pop("rope_parameters", None):
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    config.pop("layer_types", None)
    return config


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_folder(folder, family, model):
    shutil.rmtree(folder, ignore_errors=True)
    model.to(family["dtype"]).save_pretrained(folder, max_shard_size=family.get("shard", "1GB"))
    model.float()
    if family["type"] == "gpt2":
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        weights = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
        safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", as_published(config) if family["published"] else config)
    tokenizer, text_config = getattr(family_tokenizers, family["tokenizer"])()
    (folder / "tokenizer.json").write_text(tokenizer.to_str() + "\n")
    text_config = dict(text_config)
    if not family["published"]:  # newer folders keep the template in a file of its own
        (folder / "chat_template.jinja").write_text(text_config.pop("chat_template"))
    write_json(folder / "tokenizer_config.json", text_config)
    return tokenizer


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def check_features_show(folder, family, ids):
    expected = logits_of(load(folder), ids)
    for change in family["without"]:
        model = load(folder)
        if isinstance(change, dict):
            changed = AutoConfig.for_model(**{**model.config.to_dict(), **change})
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                         config=changed).eval()
        else:
            for name, weight in model.named_parameters():
                if name.endswith(change):
                    weight.data.fill_(0 if change.endswith("bias") else 1)
        difference = (logits_of(model, ids) - expected).abs().max().item()
        assert difference > 0.1, f"{family['name']} without {change} is the same"


class Unlucky(Exception):
    """These weights give a near tie, which another order of additions may decide otherwise, or too short an answer."""


CLEAR_CHOICE = 0.03  # of the router's logits, which are some 4


def check_choices(model, prompts):
    """What the least likely expert that is taken has more than the likeliest that is not."""
    taken = getattr(model.config, "num_experts_per_tok", 0)
    for ids in prompts if taken else []:
        with torch.no_grad():
            layers = model(torch.tensor([ids]), output_router_logits=True).router_logits
        for logits in layers:
            top = logits.float().topk(taken + 1, dim=-1).values
            if (top[:, taken - 1] - top[:, taken]).min().item() < CLEAR_CHOICE:
                raise Unlucky()


def greedy(model, ids, count, **options):
    # generate() takes what is not set here from the folder's generation_config.json.
    model.generation_config = GenerationConfig(
        max_new_tokens=count, do_sample=False, pad_token_id=0, output_scores=True, return_dict_in_generate=True,
        **{"repetition_penalty": 1.0, **options})
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    margin = min((top[0] - top[1]).item() for top in (score[0].topk(2).values for score in out.scores))
    if margin < 0.004:
        raise Unlucky()
    return out.sequences[0, len(ids):].tolist()


def golden_of(model, folder, name, prompts, penalty):
    """Logits of all positions of the prompts go to a file; what is short comes back."""
    rows = torch.cat([logits_of(model, ids) for ids in prompts])
    file, data = f"{name}.logits.f32", rows.numpy().astype("<f4").tobytes()
    (folder / file).unlink(missing_ok=True)
    same = next((path.name for path in folder.glob("*.logits.f32") if path.read_bytes() == data), file)
    (folder / same).write_bytes(data)
    return {"logits": same, "vocab": rows.shape[1],
            "prompts": [{"ids": ids, "greedy": greedy(model, ids, NEW_TOKENS)} for ids in prompts],
            "penalized": greedy(model, prompts[0], NEW_TOKENS // 2, repetition_penalty=penalty)}


def answers(entry):
    return [prompt["greedy"] for prompt in entry["prompts"]] + [entry["penalized"]]


def write_generation(folder, family, model, ids, eos):
    """The end tokens: the tokenizer's, and one that the greedy answer reaches; transformers must stop there."""
    answer = greedy(model, ids, NEW_TOKENS)
    stop = next((i for i in range(5, NEW_TOKENS) if answer[i] not in answer[:i]), None)
    if stop is None or eos in answer:
        raise Unlucky()
    ends = [eos, answer[stop]]
    write_json(folder / "generation_config.json",
               {"eos_token_id": ends, "max_new_tokens": 50, "transformers_version": transformers.__version__,
                **family["sampling"]})
    reloaded = load(folder)
    stopped = greedy(reloaded, ids, NEW_TOKENS, eos_token_id=reloaded.generation_config.eos_token_id)
    assert stopped == answer[:stop + 1]
    return {"end_tokens": ends, "stopped": stopped}


def text_golden(folder, raw):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lines = []
    for line in LINES:
        ids = tokenizer(line)["input_ids"]
        assert ids == raw.encode(line).ids, (folder, line, ids, raw.encode(line).ids)
        plain = tokenizer(line, add_special_tokens=False)["input_ids"]
        lines.append({"text": line, "ids": ids, "plain": plain, "decoded": tokenizer.decode(plain, skip_special_tokens=False)})
    return {"lines": lines, "messages": CHAT,
            "chat": tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)}


def make_family(folder, family, seed):
    path = folder / family["name"]
    raw = write_folder(path, family, random_model(family, seed))
    text_config = {"chat_template": getattr(family_tokenizers, family["tokenizer"])()[1]["chat_template"],
                   **json.loads((path / "tokenizer_config.json").read_text())}
    prompts = [raw.encode(LONG).ids, raw.encode(SHORT).ids]
    assert len(prompts[0]) > 40
    model = load(path)
    check_choices(model, prompts)
    end = write_generation(path, family, model, prompts[0], raw.token_to_id(text_config["eos_token"]))
    text = text_golden(path, raw)
    penalty = family["sampling"].get("repetition_penalty", 1.3)
    common = {"family": family["type"], "text": family["name"], "penalty": penalty}
    sets = [{"name": family["name"], "path": family["name"], **common, **end, "sampling": family["sampling"],
             **golden_of(model, folder, family["name"], prompts, penalty)}]
    for kind, pre in family["gguf"]:
        name = f"{family['name']}-{kind}"
        write_gguf(folder / f"{name}.gguf", model, raw, text_config, family["sampling"], pre, kind)
        quantized = load(path)
        quantized.load_state_dict(dequantized_state(folder / f"{name}.gguf", quantized))
        check_choices(quantized, prompts)
        sets.append({"name": name, "path": f"{name}.gguf", **common,
                     "sampling": {key: value for key, value in family["sampling"].items() if key != "do_sample"},
                     **golden_of(quantized, folder, name, prompts, penalty)})
    # Rows of the embedding that no token has are left out by an engine.
    if any(token >= raw.get_vocab_size() for entry in sets for answer in answers(entry) for token in answer):
        raise Unlucky()
    if any(entry["penalized"] == entry["prompts"][0]["greedy"][:NEW_TOKENS // 2] for entry in sets):
        raise Unlucky()
    check_features_show(path, family, prompts[0])
    return text, sets


def with_first_good_seed(folder, family):
    for seed in range(1000):
        try:
            made = make_family(folder, family, seed)
            print(f"{family['name']}: seed {seed}")
            return made
        except Unlucky:
            continue
    raise AssertionError("no seed gives clear choices")


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[2:] or [family["name"] for family in FAMILIES]
    texts, models = {}, []
    if sys.argv[2:]:
        known = json.loads((folder / "golden.json").read_text())
        texts = {name: text for name, text in known["texts"].items() if name not in wanted}
        models = [model for model in known["models"] if model["text"] not in wanted]
    kept = {model["logits"] for model in models} | {model["path"] for model in models}
    for old in [*folder.glob("*.logits.f32"), *folder.glob("*.gguf")]:
        if old.name not in kept:
            old.unlink()
    for family in FAMILIES:
        if family["name"] in wanted:
            texts[family["name"]], sets = with_first_good_seed(folder, family)
            models += sets
    order = [family["name"] for family in FAMILIES]
    texts = {name: texts[name] for name in order}
    models.sort(key=lambda model: order.index(model["text"]))
    versions = {module.__name__: module.__version__ for module in (torch, transformers, tokenizers)}
    parts = [f'"versions": {json.dumps(versions)}']
    parts += ['"texts": {\n' + ",\n".join(f"{json.dumps(name)}: {json.dumps(text)}" for name, text in texts.items()) + "}"]
    parts += ['"models": [\n' + ",\n".join(json.dumps(model) for model in models) + "]"]
    (folder / "golden.json").write_text("{" + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    main()
