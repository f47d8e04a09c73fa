"""Writes a GGUF file (F16) of the Llama family with random weights, for measuring speed where no model is to be had.

usage: python make_random_llama.py --vocabulary VOCABULARY.gguf --out MODEL.gguf
Needs the Python packages gguf and numpy. The shape is TinyLlama 1.1B's (untied output, 32000 tokens); the tokenizer is
that of a GGUF file with byte-level BPE, cut to its first 32000 tokens. The context is 8192, so that long prompts fit.
The same seed gives the same file. Every matrix is drawn from N(0, 0.02); those that write to the residual stream are
divided by sqrt(2 x layers), as GPT-2 is initialised, so that activations and logits stay near 1 in every layer.
"""

import argparse
import os
import zlib

import gguf
import numpy

LAYERS, WIDTH, FFN, HEADS, KV_HEADS, CONTEXT, VOCABULARY = 22, 2048, 5632, 32, 4, 8192, 32000
SPREAD = 0.02


def tensors():
    """(name, shape as rows x columns) in the order llama.cpp's converter writes them."""
    keys = WIDTH // HEADS * KV_HEADS
    yield "token_embd.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        for name, shape in [("attn_norm", (WIDTH,)), ("attn_q", (WIDTH, WIDTH)), ("attn_k", (keys, WIDTH)),
                            ("attn_v", (keys, WIDTH)), ("attn_output", (WIDTH, WIDTH)), ("ffn_norm", (WIDTH,)),
                            ("ffn_gate", (FFN, WIDTH)), ("ffn_up", (FFN, WIDTH)), ("ffn_down", (WIDTH, FFN))]:
            yield f"blk.{layer}.{name}.weight", shape
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (VOCABULARY, WIDTH)


def values(name, shape):
    """Norms are ones in fp32; matrices are random in fp16."""
    if len(shape) == 1:
        return numpy.ones(shape, numpy.float32)
    random = numpy.random.Generator(numpy.random.SFC64(zlib.crc32(name.encode())))
    spread = SPREAD / (2 * LAYERS) ** 0.5 if "attn_output" in name or "ffn_down" in name else SPREAD
    return (random.standard_normal(shape, numpy.float32) * numpy.float32(spread)).astype(numpy.float16)


def copy_tokenizer(writer, path):
    """Copies every tokenizer.* key. Tokens stand in the order of the merges that make them, so that what is left after
    the cut is a tokenizer too, which splits text into smaller pieces."""
    fields = {key: field for key, field in gguf.GGUFReader(path).fields.items() if key.startswith("tokenizer.")}
    tokens = fields["tokenizer.ggml.tokens"].contents()[:VOCABULARY]
    if len(tokens) < VOCABULARY or fields["tokenizer.ggml.model"].contents() != "gpt2":
        raise SystemExit(f"{path} has no byte-level BPE of {VOCABULARY} tokens or more")
    known = set(tokens)
    for key, field in fields.items():
        value, kind = field.contents(), field.types[0]
        if key == "tokenizer.ggml.merges":
            value = [merge for merge in value if merge.replace(" ", "") in known]
        elif kind == gguf.GGUFValueType.ARRAY:
            value = value[:VOCABULARY]
        writer.add_key_value(key, value, kind, field.types[1] if kind == gguf.GGUFValueType.ARRAY else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", required=True, help="GGUF file whose tokenizer is copied")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    partial = arguments.out + ".partial"
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_name("random-llama-1.1B")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(VOCABULARY)
    copy_tokenizer(writer, arguments.vocabulary)
    for name, shape in tensors():
        kind = numpy.dtype(numpy.float32 if len(shape) == 1 else numpy.float16)
        writer.add_tensor_info(name, shape, kind, int(numpy.prod(shape)) * kind.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, shape in tensors():  # one at a time: the whole file need not fit in memory
        writer.write_tensor_data(values(name, shape))
    writer.close()
    os.replace(partial, arguments.out)


if __name__ == "__main__":
    main()
