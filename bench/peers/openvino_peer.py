"""openvino-genai from PyPI as a peer: it reads some GGUF files. It has no HTTP server."""

import os

import models
from peerlib import ROOT, Failed, last_json, run, say

PACKAGE = "openvino-genai"


class OpenVino:
    """`version` is empty when it could not be had, and `problem` then says why."""

    def __init__(self, kinds):
        """kinds: {model's name: {kind: threads}} that will be asked for, as its slow loading is done once for all."""
        self.version, self.problem = "", "nothing to measure"
        self.kinds, self.known, self.failed = kinds, {}, {}
        if not any(kinds.values()):
            return
        try:
            self.python = models.python()
            show = [self.python, "-c", "import importlib.metadata as m, openvino_genai; print(m.version('openvino-genai'))"]
            try:
                self.version = run(show).strip()
            except Failed:
                say(f"installing {PACKAGE} from PyPI")
                run([self.python, "-m", "pip", "install", "-q", PACKAGE])
                self.version = run(show).strip()
        except Failed as error:
            self.problem = str(error)

    def bench(self, model, threads, kinds):
        program = os.path.join(ROOT, "bench", "peers", "openvino_bench.py")
        return last_json(run([self.python, program, model.path, "--threads", str(threads), "--generate",
                              str(model.generate), *kinds], timeout=300, end_of=PACKAGE), PACKAGE)

    def measure(self, model, threads, kind):
        """The first call for a model and number of threads measures all its kinds; later ones measure again."""
        try:
            key = (model.name, threads)
            if key not in self.known:
                self.known[key] = self.bench(model, threads, [k for k, t in self.kinds[model.name].items() if threads in t])
            values = self.known[key]
            return values.pop(kind) if kind in values else self.bench(model, threads, [kind])[kind]
        except Failed as error:
            self.failed[model.name] = str(error)
            say(f"  {PACKAGE} {self.version} on {model.name}: {error}")
            raise

    def variants(self, model, threads, kind):
        """{name: function that measures} for interleave; none where it could not be had or does not take the model."""
        if not self.version or model.name in self.failed:
            return {}
        return {f"{PACKAGE} {self.version}": lambda: self.measure(model, threads, kind)}
