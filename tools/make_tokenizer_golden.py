#!/usr/bin/env python3
"""Makes tests/data/tokenizers/hf_*.json and hf_*.golden: what Hugging Face's `tokenizers` makes of odd texts.

Usage: pip install tokenizers==0.23.3; tools/make_tokenizer_golden.py   (from the repository's root; seeded, so that a
second run gives the same files). A golden file holds cases {text, ids, special_ids, decoded}: ids without and with the
tokens that are put around a text, and the text that decoding ids gives.
"""
import json
import pathlib
import random
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as pre

OUT = pathlib.Path("tests/data/tokenizers")
LINES = pathlib.Path("tests/data/text/tinyshakespeare.txt").read_text().splitlines(keepends=True)[:6000]
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
            r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{END}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{END}"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HAN = r"&&[^\p{Han}]]"
KIMI = O200K.replace(r"\p{M}]", r"\p{M}" + HAN).replace("[\\r\\n/]*", "[\\r\\n]*").join([r"[\p{Han}]+|", ""])

FIXED = [
    "", " ", "  ", "\n", "\n\n", "\t\n ", "Hello, world!", " Hello", "  Hello", "hello\r\n\r\nworld", "I'll we've I'M 'S 'ſ they'Re",
    "don't 'tis ''''", "1 22 333 4444 55555 3.14 ½ ٣٤ Ⅷ", "naïve café ÀÉÎ e\u0301\u0323 a\u0323\u0301 Å \u212b ﬁ", "Straße ẞ İstanbul ΣΑΣ ǅ",
    "日本語とひらがな 中文测试。한국어 각", "😀😶‍🌫️ 🦙.cpp ✅", "a\u200bb\u00ad c\u0000d\ufffde\u180ef\u2028g\u0085h\u3000i\u00a0j",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>", "x<tool>y< tool >z<tool><tool>", "word  <left> gap <right>  gap<word>s <word> s",
    "▁under▁score▁ ▁▁", "[CLS] the [MASK] man [SEP]", "a" * 300, " " * 50 + "x", "=" * 70 + "\n" + "-" * 33,
    "snake_case camelCase HTTPServer x1y2z3 $100 #tag @you a/b\\c", "#include <stdio.h>\n\tint main() {\n\t\treturn 0;\n\t}\n",
    "\u0915\u094d\u0937\u093f ಕನ್ನಡ ไทย العربية עברית", "\u1100\u1161\u11a8 \uac00\u11a8", "q\u0307\u0323 \u0344 \u0958 \u2126",
]
ASSIGNED = [chr(c) for c in range(0x30000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
# The package's BERT classes are those of Unicode 8: its cases stay within characters that are older.
OLD = [chr(c) for c in range(0x30000) if unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs", "Co")
       and unicodedata.ucd_3_2_0.category(chr(c)) == unicodedata.category(chr(c))]


def random_texts(rng, characters):
    pools = [list("abc ABC'  \n\t.,!019"), [chr(c) for c in range(0x20, 0x250)], characters,
             list(" \n\r\t\u00a0\u2003") + list("xX1."), list("'sStTrReEvVmMlLdD ") + ["ſ", "K"]]
    for i in range(150):
        pool = pools[i % len(pools)]
        yield "".join(rng.choice(pool) for _ in range(rng.randrange(1, 40)))


def texts(characters):
    rng = random.Random(20261122)
    return FIXED + list(random_texts(rng, characters)) + [rng.choice(LINES) for _ in range(20)]


def save(name, tokenizer, characters=ASSIGNED):
    cases = []
    for text in texts(characters):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        special_ids = tokenizer.encode(text).ids
        cases.append({"text": text, "ids": ids, "special_ids": special_ids, "decoded": tokenizer.decode(ids)})
    tokenizer.save(str(OUT / f"hf_{name}.json"), pretty=False)
    golden = {"made_by": f"tokenizers {tokenizers.__version__}", "cases": cases}
    (OUT / f"hf_{name}.golden").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(name, tokenizer.get_vocab_size(), len(cases))


def byte_level(pre_tokenizer, vocab_size=420, normalizer=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False, initial_alphabet=pre.ByteLevel.alphabet(),
                                  special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def split(pattern, behavior="isolated", invert=False):
    return pre.Split(Regex(pattern), behavior, invert)


def after(*steps):
    return pre.Sequence([*steps, pre.ByteLevel(add_prefix_space=False, use_regex=False)])


def make_byte_level():
    save("gpt2", byte_level(pre.ByteLevel(add_prefix_space=False)))
    roberta = byte_level(pre.ByteLevel(add_prefix_space=True))
    roberta.post_processor = processors.RobertaProcessing(("<|im_end|>", 2), ("<|im_start|>", 1))
    save("roberta", roberta)
    save("smollm", byte_level(pre.Sequence([pre.Digits(True), pre.ByteLevel(add_prefix_space=False)])))
    llama3 = byte_level(after(split(CL100K)), ignore_merges=True)
    llama3.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|im_start|> $A", pair="<|im_start|> $A <|im_start|> $B:1", special_tokens=[("<|im_start|>", 1)])])
    save("llama3", llama3)
    save("qwen2", byte_level(after(split(QWEN)), normalizer=normalizers.NFC()))
    save("deepseek3", byte_level(after(*map(split, DEEPSEEK))))
    save("o200k", byte_level(after(split(O200K))))
    save("kimi", byte_level(after(split(KIMI))))
    save("nfd", byte_level(after(split(r"\w+|[^\w\s]+")), normalizer=normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip(),
         normalizers.Replace("ab", "BA"), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Prepend("^")])))


def make_behaviors():
    for name in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        save(name, byte_level(after(split(r"\s", name))))
    save("inverted", byte_level(after(split(r"\p{L}+", "removed", True))))
    save("punctuation", byte_level(after(pre.Punctuation("contiguous"), pre.Digits(False), pre.WhitespaceSplit())))
    save("whitespace", byte_level(after(pre.Whitespace())))
    added = byte_level(pre.ByteLevel(add_prefix_space=False))
    added.add_tokens([AddedToken("<tool>"), AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True),
                      AddedToken("<word>", single_word=True), AddedToken("<tool><tool>", normalized=False), "gap"])
    added.normalizer = normalizers.Lowercase()
    # (It decodes normalized added tokens in their normal form: "http" is its own.)
    added.add_tokens([AddedToken("http", normalized=True), AddedToken("MAIN", normalized=False)])
    save("added", added)


def sentence_piece(pre_tokenizer, normalizer, decoder, lines):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=560, show_progress=False, special_tokens=names)
    tokenizer.train_from_iterator(lines, trainer)
    made = json.loads(tokenizer.to_str())  # the byte tokens are part of the vocabulary, not special
    made["added_tokens"] = made["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)])
    return tokenizer


def make_sentence_piece():
    llama = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(" ", 1, 0)])
    save("llama2", sentence_piece(None, llama, llama_decoder, LINES[:800]))
    gemma = sentence_piece(pre.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "▁"),
                           decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
                           LINES[:800])
    save("gemma", gemma)
    for scheme, cut in (("always", True), ("first", False), ("never", True)):
        meta = pre.Metaspace("▁", scheme, cut)
        decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
                                    + ([] if scheme == "never" else [decoders.Strip(" ", 1, 0)]))
        save(f"metaspace_{scheme}", sentence_piece(meta, None, decoder, LINES[:800]))


def make_wordpiece():
    for name, lowercase in (("uncased", True), ("cased", False)):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        tokenizer.pre_tokenizer = pre.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=500, show_progress=False,
                                            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        tokenizer.train_from_iterator(LINES + ["naive cafe 1 2 3 日 本 а б"], trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        save(f"wordpiece_{name}", tokenizer, OLD)


def main():
    make_byte_level()
    make_behaviors()
    make_sentence_piece()
    make_wordpiece()


if __name__ == "__main__":
    sys.exit(main())
