#!/usr/bin/env python3
"""Converts a llama2.c checkpoint (format version 0) and its tokenizer into a GGUF file of architecture llama.

  tools/llama2c_to_gguf.py MODEL.bin TOKENIZER.bin OUT.gguf --name NAME [--license mit]

Needs numpy and gguf (pip install gguf). The output depends on the inputs alone.

llama2.c rotates neighbouring pairs of a head's values (interleaved rotary embedding), and so does GGUF's llama
architecture: no row is permuted. (Hugging Face checkpoints rotate halves and would be.)
"""
import argparse
import struct

import gguf
import numpy as np

RMS_EPSILON = 1e-5  # fixed in llama2.c (run.c, rmsnorm)
ROPE_BASE = 10000.0  # fixed in llama2.c (run.c, forward)
FIRST_BYTE_TOKEN = 3  # SentencePiece order: <unk> <s> </s> <0x00> ... <0xFF>


class Checkpoint:
    """The seven header numbers and the float32 weights that follow them, in file order."""

    def __init__(self, path):
        data = open(path, "rb").read()
        header = struct.unpack("<7i", data[:28])
        self.dim, self.hidden, self.layers, self.heads, self.kv_heads, vocab, self.context = header
        self.vocab = abs(vocab)
        self.shared_output = vocab > 0  # a negative size marks a separate output matrix
        self.head_dim = self.dim // self.heads
        self._weights = np.frombuffer(data, "<f4", offset=28)
        self._next = 0

    def take(self, *shape):
        count = int(np.prod(shape))
        if self._next + count > self._weights.size:
            raise SystemExit("the model file is cut off")
        out = self._weights[self._next:self._next + count].reshape(shape)
        self._next += count
        return out

    def tensors(self):
        """Yields (GGUF name, array) for all weights."""
        L, D, H = self.layers, self.dim, self.hidden
        kv = self.kv_heads * self.head_dim
        yield "token_embd.weight", self.take(self.vocab, D)
        stacks = [("attn_norm", (D,)), ("attn_q", (D, D)), ("attn_k", (kv, D)), ("attn_v", (kv, D)),
                  ("attn_output", (D, D)), ("ffn_norm", (D,)), ("ffn_gate", (H, D)), ("ffn_down", (D, H)),
                  ("ffn_up", (H, D))]
        for name, shape in stacks:
            for layer, array in enumerate(self.take(L, *shape)):
                yield f"blk.{layer}.{name}.weight", array
        yield "output_norm.weight", self.take(D)
        self.take(2, self.context, self.head_dim // 2)  # cosines and sines of the rotary embedding: not needed
        if not self.shared_output:
            yield "output.weight", self.take(self.vocab, D)
        if self._next != self._weights.size:
            raise SystemExit(f"{self._weights.size - self._next} floats are left over: not a version 0 file")


def read_tokenizer(path, size):
    """Returns (tokens, scores, types). llama2.c writes a space where SentencePiece has U+2581: undone here."""
    data = open(path, "rb").read()
    tokens, scores, types, at = [], [], [], 4  # the first 4 bytes are the longest token's length
    for i in range(size):
        score, length = struct.unpack_from("<fi", data, at)
        text = data[at + 8:at + 8 + length].decode("utf-8")
        at += 8 + length
        special = {0: ("<unk>", gguf.TokenType.UNKNOWN), 1: ("<s>", gguf.TokenType.CONTROL),
                   2: ("</s>", gguf.TokenType.CONTROL)}
        is_byte = FIRST_BYTE_TOKEN <= i < FIRST_BYTE_TOKEN + 256
        plain = (text.replace(" ", "\u2581"), gguf.TokenType.BYTE if is_byte else gguf.TokenType.NORMAL)
        token, kind = special.get(i, plain)
        if is_byte and token != f"<0x{i - FIRST_BYTE_TOKEN:02X}>":
            raise SystemExit(f"token {i} is {token!r}, not the byte token expected there")
        tokens.append(token)
        scores.append(score)
        types.append(kind)
    if at != len(data):
        raise SystemExit("the tokenizer has more tokens than the model")
    return tokens, scores, types


def write_metadata(writer, model, args):
    writer.add_name(args.name)
    writer.add_license(args.license)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(model.vocab)
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.dim)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(model.hidden)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_layer_norm_rms_eps(RMS_EPSILON)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_rope_freq_base(ROPE_BASE)


def write_tokenizer(writer, path, size):
    tokens, scores, types = read_tokenizer(path, size)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tokenizer")
    parser.add_argument("out")
    parser.add_argument("--name", required=True)
    parser.add_argument("--license", default="mit")
    args = parser.parse_args()

    model = Checkpoint(args.model)
    writer = gguf.GGUFWriter(args.out, "llama")
    write_metadata(writer, model, args)
    write_tokenizer(writer, args.tokenizer, model.vocab)
    for name, array in model.tensors():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
