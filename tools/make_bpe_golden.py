#!/usr/bin/env python3
"""Makes tests/golden/bpe/: the merges that Hugging Face's `tokenizers` finds, for text/bpe_trainer_test.cc.

Usage: pip install tokenizers==0.23.3; tools/make_bpe_golden.py    (from the repository's root)
       tools/make_bpe_golden.py --check FOLDER SIZE [smollm]
       tools/make_bpe_golden.py --time    (what bench/tokenizer_bench's "train" is to be compared with)
With --check it reads FOLDER/tokenizer.json, which `tokenworks train` wrote, compares its merges with those that the
package finds in the documents FOLDER/*.txt (each one document), and encodes the documents with both.
A golden file holds the options, the size of the vocabulary and the merges "a b" in order.
"""
import json
import pathlib
import sys
import time

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, trainers
from tokenizers import pre_tokenizers as pre

OUT = pathlib.Path("tests/golden/bpe")
SHAKESPEARE = pathlib.Path("tests/data/text/tinyshakespeare.txt")


def mixed_documents():
    """Languages, code, digits, white space of every kind, and characters outside the basic plane."""
    return (OUT / "mixed.txt").read_bytes().decode("utf-8").split("\f")


def train(documents, vocab_size, min_frequency, special, kind, all_bytes):
    tokenizer = Tokenizer(models.BPE())
    gpt2 = pre.ByteLevel(add_prefix_space=False)
    digits = pre.Split(Regex(r"\p{N}"), "isolated")
    tokenizer.pre_tokenizer = gpt2 if kind == "gpt-2" else pre.Sequence([digits, gpt2])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, show_progress=False, special_tokens=special,
        initial_alphabet=pre.ByteLevel.alphabet() if all_bytes else []))
    return tokenizer


def merges_of(tokenizer):
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def save(name, text, documents, **options):
    tokenizer = train(documents, **options)
    merges = merges_of(tokenizer)
    golden = {"made_by": f"tokenizers {tokenizers.__version__}", "text": text, **options,
              "size": tokenizer.get_vocab_size(), "merges": merges}
    (OUT / f"{name}.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(name, golden["size"], len(merges))


def check(folder, size, kind):
    documents = [path.read_bytes().decode("utf-8") for path in sorted(folder.glob("*.txt"))]
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs = train(documents, size, 2, ["<|endoftext|>"], kind, True)
    assert merges_of(ours) == merges_of(theirs), "the merges differ"
    assert ours.get_vocab() == theirs.get_vocab(), "the vocabularies differ"
    for document in documents:
        assert ours.encode(document, add_special_tokens=False).ids == theirs.encode(document).ids
        assert ours.encode(document).ids[0] == 0, "a text starts with the token between documents"
        assert ours.decode(ours.encode(document).ids) == document
    print(f"{len(merges_of(ours))} merges agree")


def time_training():
    """Seconds for tinyshakespeare, the best of five; TOKENIZERS_PARALLELISM and RAYON_NUM_THREADS set the threads."""
    text = SHAKESPEARE.read_bytes().decode()
    for size in (4096, 12000):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            train([text], size, 2, ["<|endoftext|>"], "gpt-2", True)
            times.append(time.perf_counter() - start)
        print(f"{size} tokens: {min(times) * 1e3:.0f} ms")


def main():
    if sys.argv[1:2] == ["--time"]:
        return time_training()
    if sys.argv[1:2] == ["--check"]:
        return check(pathlib.Path(sys.argv[2]), int(sys.argv[3]), (sys.argv[4:] or ["gpt-2"])[0])
    one = ["<|endoftext|>"]
    shakespeare = [SHAKESPEARE.read_bytes().decode()]
    mixed = mixed_documents()
    save("shakespeare_4096", "shakespeare", shakespeare, vocab_size=4096, min_frequency=2, special=one, kind="gpt-2",
         all_bytes=True)
    save("shakespeare_all", "shakespeare", shakespeare, vocab_size=30000, min_frequency=2, special=one, kind="smollm",
         all_bytes=False)
    save("mixed_gpt2", "mixed", mixed, vocab_size=900, min_frequency=0, special=one + ["<|im_start|>", "<|im_end|>"],
         kind="gpt-2", all_bytes=True)
    save("mixed_smollm", "mixed", mixed, vocab_size=5000, min_frequency=1, special=one, kind="smollm", all_bytes=True)
    # "th" and " the" are special here: merges make tokens that exist already, and the same pair may be merged twice.
    save("mixed_colliding", "mixed", mixed, vocab_size=700, min_frequency=1, kind="gpt-2", all_bytes=True,
         special=one + ["th", "Ġth", "Ġthe", "er", "aaaa", "aa"])


if __name__ == "__main__":
    main()
