"""Writes a Hugging Face model as GGUF with the Python package gguf, as llama.cpp's converter does, for
make_family_golden.py; and reads such a file's weights back as Hugging Face's, dequantized by the same package."""
import json

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize

HEADS_OF = {"self_attn.q_proj.weight": "num_attention_heads", "self_attn.k_proj.weight": "num_key_value_heads"}


def permuted_heads(config, name):
    """How many heads of this tensor the converter permutes: only Llama's rotary pairs become neighbours."""
    key = next((key for suffix, key in HEADS_OF.items() if name.endswith(suffix)), None)
    return getattr(config, key) if key and config.model_type in ("llama", "mistral", "mixtral") else 0


def arch_of(config):
    return {"mistral": "llama", "mixtral": "llama", "qwen2_moe": "qwen2moe",
            "qwen3_moe": "qwen3moe"}.get(config.model_type, config.model_type)


def apart(config, state):
    """Of experts a file has gates, ups and downs in a tensor each [experts, out, in], transformers gates and ups in one."""
    for name, weight in state.items():
        if name.endswith("experts.gate_up_proj"):
            width = weight.shape[1] // 2
            yield name.replace("gate_up_proj", "gate_proj"), weight[:, :width]
            yield name.replace("gate_up_proj", "up_proj"), weight[:, width:]
        elif name != "lm_head.weight" or not config.tie_word_embeddings:
            yield name, weight


def gguf_name(names, name):
    layer, _, matrix = name.removeprefix("model.layers.").partition(".mlp.experts.")
    if matrix:
        return f"blk.{layer}.ffn_{matrix.removesuffix('_proj')}_exps.weight"
    if name.endswith(".mlp.gate.weight"):
        return f"blk.{name.split('.')[2]}.ffn_gate_inp.weight"
    return names.get_name(name, try_suffixes=(".weight", ".bias"))


def turned(config, name):
    """GPT-2's linear layers are kept [in, out], and converted to [out, in]."""
    return config.model_type == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


def to_neighbours(weight, heads):
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def to_halves(weight, heads):
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def llama3_factors(rope, head_dim):
    """What rope_freqs.weight holds: by how much each frequency is divided."""
    factors = []
    low_wavelength = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high_wavelength = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    for i in range(0, head_dim, 2):
        wavelength = 2 * np.pi * rope["rope_theta"] ** (i / head_dim)
        if wavelength < high_wavelength:
            factors.append(1.0)
        elif wavelength > low_wavelength:
            factors.append(rope["factor"])
        else:
            smooth = (rope["original_max_position_embeddings"] / wavelength - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def add_sizes(writer, config):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    gpt2 = config.model_type == "gpt2"
    writer.add_feed_forward_length((config.n_inner or 4 * config.hidden_size) if gpt2 else config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    if gpt2:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if experts := getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        if config.model_type != "mixtral":
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)
        if config.model_type == "qwen2_moe":
            writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    writer.add_vocab_size(config.vocab_size)
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if getattr(config, "sliding_window", None) and "full_attention" not in getattr(config, "layer_types", []):
        writer.add_sliding_window(config.sliding_window)


def add_rope(writer, config, head_dim):
    if config.model_type == "gpt2":
        return
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(head_dim)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, head_dim))


def add_tokenizer(writer, tokenizer, pre, vocab_size):
    """`pre` is GGUF's name of the pre-tokenizer; None: a SentencePiece vocabulary, whose scores are minus the ranks."""
    added = tokenizer.get_added_tokens_decoder()
    names, types = [], []
    for i in range(vocab_size):
        name = tokenizer.id_to_token(i)
        if name is None:
            kind = gguf.TokenType.UNUSED
        elif i in added:
            kind = gguf.TokenType.CONTROL if added[i].special else gguf.TokenType.USER_DEFINED
            kind = gguf.TokenType.UNKNOWN if name == "<unk>" else kind
        else:
            kind = gguf.TokenType.BYTE if pre is None and name.startswith("<0x") else gguf.TokenType.NORMAL
        names.append(name if name is not None else f"[PAD{i}]")
        types.append(kind)
    writer.add_tokenizer_model("gpt2" if pre else "llama")
    writer.add_tokenizer_pre(pre or "default")
    writer.add_token_list(names)
    if pre:
        writer.add_token_merges([" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]])
    else:
        writer.add_token_scores([-1000.0 if kind == gguf.TokenType.UNUSED else float(-i) for i, kind in enumerate(types)])
    writer.add_token_types(types)


SAMPLING_KEYS = {"temperature": "temp", "top_p": "top_p", "min_p": "min_p", "repetition_penalty": "penalty_repeat"}


def add_sampling(writer, sampling):
    for name, key in SAMPLING_KEYS.items():
        if name in sampling:
            writer.add_float32(f"general.sampling.{key}", sampling[name])
    if "top_k" in sampling:
        writer.add_int32("general.sampling.top_k", sampling["top_k"])


def write_gguf(path, model, tokenizer, text_config, sampling, pre, kind):
    """`kind`: the type of the matrices; vectors stay F32. `tokenizer` is of the package tokenizers."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    arch = arch_of(config)
    writer = gguf.GGUFWriter(path, arch)
    add_sizes(writer, config)
    add_rope(writer, config, head_dim)
    add_tokenizer(writer, tokenizer, pre, config.vocab_size)
    for key in ("bos", "eos"):
        if text_config.get(f"{key}_token"):
            getattr(writer, f"add_{key}_token_id")(tokenizer.token_to_id(text_config[f"{key}_token"]))
    add_sampling(writer, sampling)
    writer.add_add_bos_token(len(tokenizer.encode("").ids) == 1)
    writer.add_chat_template(text_config["chat_template"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], config.num_hidden_layers)
    for name, weight in apart(config, model.state_dict()):
        values = weight.float().numpy()
        if heads := permuted_heads(config, name):
            values = to_neighbours(values, heads)
        if turned(config, name):
            values = values.T
        if name.endswith("shared_expert_gate.weight"):
            values = values[0]
        ours = gguf_name(names, name)
        plain = values.ndim == 1 or ours == "position_embd.weight" or ours.endswith("ffn_gate_inp.weight")
        matrix = gguf.GGMLQuantizationType.F32 if plain else gguf.GGMLQuantizationType[kind]
        writer.add_tensor(ours, quantize(np.ascontiguousarray(values), matrix), raw_dtype=matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def dequantized_state(path, model):
    """The file's weights under Hugging Face's names, to be loaded into `model`."""
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch_of(config).upper()], config.num_hidden_layers)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    state = {}

    def stack(name):
        tensor = tensors[gguf_name(names, name)]
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(tuple(tensor.shape)[::-1])

    for name, weight in model.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            both = [stack(name.replace("gate_up_proj", matrix)) for matrix in ("gate_proj", "up_proj")]
            state[name] = torch.from_numpy(np.concatenate(both, axis=1))
            continue
        tied = name == "lm_head.weight" and config.tie_word_embeddings
        tied_name = "transformer.wte.weight" if config.model_type == "gpt2" else "model.embed_tokens.weight"
        tensor = tensors[gguf_name(names, tied_name if tied else name)]
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        values = values.reshape(weight.shape[::-1]).T if turned(config, name) else values.reshape(weight.shape)
        if heads := permuted_heads(config, name):
            values = to_halves(values, heads)
        state[name] = torch.from_numpy(values.copy())
    return state
