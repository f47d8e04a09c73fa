"""The work of bench/peers/train_bpe.cc with the `tokenizers` package. One JSON line on standard output."""
import json
import pathlib
import time

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

text = (pathlib.Path(__file__).parents[2] / "tests/data/text/tinyshakespeare.txt").read_text(encoding="utf-8")
documents = [text] * 10
begin = time.perf_counter()
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.train_from_iterator(documents, trainers.BpeTrainer(
    vocab_size=8192, min_frequency=2, show_progress=False, special_tokens=["<|endoftext|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
print(json.dumps({"bytes_per_second": 10 * len(text.encode()) / (time.perf_counter() - begin),
                  "vocabulary": tokenizer.get_vocab_size()}))
