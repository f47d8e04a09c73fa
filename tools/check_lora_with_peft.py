#!/usr/bin/env python3
"""Whether peft reads the adapters that our trainer writes, and computes the same loss with them.

    pip install torch transformers peft safetensors gguf
    build/src/train/train_test --gtest_filter=AdapterTrainer.WritesWhatIsReadAgain
    python3 tools/check_lora_with_peft.py build tests/golden
"""
import json
import sys
from pathlib import Path

import peft
import torch

from make_lora_golden import ADAPTERS, load_base, step_loss


def main():
    written, families = Path(sys.argv[1]) / "written_adapters", Path(sys.argv[2]) / "families"
    status = 0
    for folder in sorted(written.iterdir()):
        told = json.loads((folder / "loss.json").read_text())
        adapter = next(a for a in ADAPTERS if a["name"] == folder.name)
        base = load_base(adapter, families)
        model = peft.PeftModel.from_pretrained(base, folder)
        with torch.no_grad():
            loss = float(step_loss(model, told["step"], base.config.vocab_size))
        wrong = abs(loss / told["loss"] - 1) > 1e-4
        status |= wrong
        print(f"{folder.name}: ours {told['loss']:.6f}, peft {loss:.6f}{'  <- they differ' if wrong else ''}")
    return status


if __name__ == "__main__":
    sys.exit(main())
