"""Speeds of openvino-genai on one GGUF file, as JSON: run by openvino_peer.py in a Python that has the package.

usage: python openvino_bench.py MODEL --threads N --generate N KIND...    KIND: prefill, decode, batch_16
Its own defaults: bf16 where the processor has it, keys and values in 8 bits.
"""

import argparse
import json
import time

import numpy
import openvino
import openvino_genai

PROMPT, SEQUENCES, SEQUENCE_PROMPT = 512, 16, 16


class Bench:
    def __init__(self, model, threads):
        self.pipeline = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
        self.random = numpy.random.default_rng(1)

    def seconds(self, sequences, prompt, generate):
        """Time of one call; the prompts are new, so that no cache has them."""
        ids = self.random.integers(300, 30000, (sequences, prompt), dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = generate, True, False
        begin = time.monotonic()
        self.pipeline.generate(inputs, config)
        return time.monotonic() - begin

    def rate(self, sequences, prompt, generate):
        """Tokens/s after the first: the difference of a long and a short answer."""
        self.seconds(sequences, prompt, 2)
        short = self.seconds(sequences, prompt, 1)
        return sequences * generate / (self.seconds(sequences, prompt, generate + 1) - short)

    def run(self, kind, generate):
        if kind == "prefill":
            self.seconds(1, PROMPT, 1)
            return PROMPT / self.seconds(1, PROMPT, 1)
        return self.rate(1, 8, generate) if kind == "decode" else self.rate(SEQUENCES, SEQUENCE_PROMPT, generate)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("kinds", nargs="+", metavar="KIND")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--generate", type=int, required=True)
    arguments = parser.parse_args()
    begin = time.monotonic()
    bench = Bench(arguments.model, arguments.threads)
    out = {"load_seconds": time.monotonic() - begin}
    for kind in arguments.kinds:
        out[kind] = bench.run(kind, arguments.generate)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
