#!/usr/bin/env python3
"""The types that llama.cpp's llama-quantize gives the tensors of some models, for src/model/quantize_test.cc.

    tools/make_mix_golden.py LLAMA_QUANTIZE MODEL.gguf... > tests/golden/mixes/types.json

MODEL.gguf: F16, with the sizes that the test makes (feed-forward twice the width, vocabulary 281). Needs the package gguf.
"""
import collections
import json
import subprocess
import sys
import tempfile

import gguf

MIXES = ["bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q3_k_l", "q3_k_m",
         "q3_k_s", "q2_k"]  # q2_k_s wants importances there


def types_of(tool, model, mix):
    with tempfile.NamedTemporaryFile(suffix=".gguf") as out:
        subprocess.run([tool, model, out.name, mix.upper(), "1"], check=True, capture_output=True)
        types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(out.name).tensors if len(t.shape) > 1}
    most = collections.Counter(types.values()).most_common(1)[0][0]
    return {"most": most, "others": {name: kind for name, kind in types.items() if kind != most}}


def number(reader, key):
    return int(reader.fields[f"llama.{key}"].contents())


def main():
    models = []
    for path in sys.argv[2:]:
        reader = gguf.GGUFReader(path)
        models.append({"layers": number(reader, "block_count"), "width": number(reader, "embedding_length"),
                       "heads": number(reader, "attention.head_count"), "kv_heads": number(reader, "attention.head_count_kv"),
                       "tied": not any(t.name == "output.weight" for t in reader.tensors),
                       "types": {mix: types_of(sys.argv[1], path, mix) for mix in MIXES}})
    print(json.dumps({"models": models}, indent=None, separators=(",", ":")))


if __name__ == "__main__":
    main()
