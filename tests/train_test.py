#!/usr/bin/env python3
"""`tokenworks train` as people meet it: from a folder of text to a model that answers; killed, stopped, misused.

train_test.py PROGRAM [unittest arguments]
"""
import http.client
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = os.path.abspath(sys.argv.pop(1))
EXAMPLES = Path(__file__).parent.parent / "examples/train"
TINY = Path(__file__).parent / "golden/families/qwen2"
PLAYS = Path(__file__).parent / "data/text/tinyshakespeare.txt"
SMALL = ("--tokenizer-vocab", "300", "--model-layers", "1", "--model-width", "32", "--sequence", "32", "--batch", "128",
         "--no-peak", "--isa", "avx2", "--samples-tokens", "8")


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.text = self.folder / "text"
        self.text.mkdir()
        (self.text / "a.txt").write_text(PLAYS.read_text()[:30000])

    def train(self, *arguments, **more):
        return subprocess.run([PROGRAM, "train", *map(str, arguments)], cwd=self.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, check=False, **more)

    def start(self, *arguments):
        process = subprocess.Popen([PROGRAM, "train", *map(str, arguments)], cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.addCleanup(process.stdout.close)
        return process

    def log(self, out):
        """Losses by step, of whole lines."""
        losses = {}
        for line in (self.folder / out / "log.jsonl").read_text().splitlines(keepends=True):
            if line.endswith("\n") and "loss" in (entry := json.loads(line)):
                losses[entry["step"]] = entry["loss"]
        return losses

    def serve(self, model):
        server = subprocess.Popen([PROGRAM, "serve", model, "--port", "0"], cwd=self.folder, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", "/v1/completions", json.dumps(
                {"prompt": "The", "max_tokens": 12, "temperature": 0, "ignore_eos": True}))
            answer = json.loads(connection.getresponse().read())
            connection.close()
            self.assertGreater(len(answer["choices"][0]["text"]), 4)
        finally:
            server.terminate()
            server.wait()
            server.stdout.close()

    def wait_for(self, condition, process):
        end = time.monotonic() + 60
        while not condition():
            self.assertIsNone(process.poll(), process.stdout.read() if process.poll() is not None else "")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)


class Runs(Case):
    def test_kill_and_resume_have_the_losses_of_a_run_that_was_left_alone(self):
        run = ("--data", self.text, *SMALL, "--steps", "1000", "--checkpoints-steps", "20", "--validation-interval", "250")
        whole = self.train(*run, "--out", "whole")
        self.assertEqual(whole.returncode, 0, whole.stderr)
        process = self.start(*run, "--out", "killed")
        checkpoints = self.folder / "killed/checkpoints"
        self.wait_for(lambda: list(checkpoints.glob("step-*/manifest.json")) and len(self.log("killed")) > 50, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertFalse((self.folder / "killed/config.json").exists())
        resumed = self.train("--resume", "killed", "--no-peak")
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertRegex(resumed.stderr, r"goes on from step \d*[02468]0\b|goes on from step 250")
        self.assertEqual(self.log("killed"), self.log("whole"))
        self.assertEqual((self.folder / "killed/model.safetensors").read_bytes(),
                         (self.folder / "whole/model.safetensors").read_bytes())
        self.assertIn("tokenworks serve killed", resumed.stdout)
        self.serve("killed")

    def test_a_signal_saves_and_says_how_to_go_on(self):
        process = self.start("--data", self.text, *SMALL, "--minutes", "50", "--out", "my run")
        self.wait_for((self.folder / "my run/log.jsonl").exists, process)
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
        self.assertEqual(process.wait(), 0, said)
        self.assertIn("tokenworks train --resume 'my run'", said)
        self.assertTrue(list((self.folder / "my run/checkpoints").glob("step-*/manifest.json")))

    def test_minutes_are_kept(self):
        begin = time.monotonic()
        done = self.train("--data", self.text, *SMALL, "--minutes", "0.05", "--out", "short")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(time.monotonic() - begin, 20)  # of a machine that may be busy
        self.assertGreater(len(self.log("short")), 3)
        measured = subprocess.run([PROGRAM, "eval", "short", "--text", "text/a.txt", "--limit", "20", "--json"], cwd=self.folder,
                                  capture_output=True, text=True, timeout=120, check=True)
        loss = json.loads(measured.stdout)["text"][0]["loss"]
        self.assertLess(abs(loss - list(self.log("short").values())[-1]), 1.5)  # of the same text, by few batches

    def test_a_dry_run_says_what_it_would_be_and_writes_nothing(self):
        done = self.train("--data", self.text, *SMALL, "--steps", "100", "--out", "dry", "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        for wanted in ("1 layers of width 32", "12.80 k tokens", "master weights", "activations", "FLOP", "tokens/s measured"):
            self.assertIn(wanted, done.stdout.replace("12.8 k", "12.80 k"))
        self.assertFalse((self.folder / "dry").exists())

    def test_a_dry_run_counts_what_the_optimizer_keeps(self):
        def share_of_moments(kind):
            done = self.train("--data", self.text, "--model-layers", "1", "--model-width", "256", "--tokenizer-kind", "bytes",
                              "--steps", "10", "--optimizer-kind", kind, "--dry-run")
            self.assertEqual(done.returncode, 0, done.stderr)
            said = re.search(r"master weights ([\d.]+), gradients [\d.]+, moments ([\d.]+)", done.stdout)
            return float(said.group(2)) / float(said.group(1))

        self.assertAlmostEqual(share_of_moments("adamw"), 2, delta=0.1)
        self.assertLess(share_of_moments("adafactor"), 0.1)

    def test_a_dry_run_counts_a_teacher_and_the_masks_of_pruning(self):
        plan = ("--data", self.text, "--model-layers", "4", "--model-width", "256", "--model-ffn-width", "512", "--steps", "10",
                "--batch", "128", "--sequence", "32", "--isa", "avx2", "--dry-run")
        done = self.train(*plan, "--teacher-path", TINY, "--pruning-ffn-width", "256")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"masked weights {4 * 4 * (256 * 512 + 512) / 2**20:.1f}", done.stdout)
        self.assertIn(f"weights of the teacher or the base {4 * 74304 / 2**20:.1f}", done.stdout)  # its weights, in fp32
        done = self.train(*plan, "--tokenizer-kind", "bytes")
        self.assertNotIn("masked weights", done.stdout)
        self.assertNotIn("teacher", done.stdout)

    def test_two_runs_do_not_share_a_folder(self):
        run = ("--data", self.text, *SMALL, "--minutes", "50", "--out", "shared")
        process = self.start(*run)
        self.wait_for((self.folder / "shared/log.jsonl").exists, process)
        for more in ((*run,), (*run, "--fresh"), ("--resume", "shared")):
            second = self.train(*more)
            self.assertEqual(second.returncode, 1, second)
            self.assertIn(f"shared: another run is at work there (process {process.pid}): wait", second.stderr.splitlines()[-1])
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = self.train("--data", self.text, *SMALL, "--steps", "3", "--out", "shared", "--fresh")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_folder_of_data_may_hold_the_run(self):
        run = ("--data", ".", *SMALL, "--out", "mine", "--steps", "6")
        for _ in range(2):  # the second time the run's log is there
            done = self.train(*run)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("mine lies in", done.stderr)

    def test_text_that_changes_stops_a_run_that_goes_on(self):
        run = ("--data", self.text, *SMALL, "--out", "mine", "--steps", "6")
        self.assertEqual(self.train(*run).returncode, 0)
        (self.text / "a.txt").write_text(PLAYS.read_text()[1000:31000])
        for command in (run, ("--resume", "mine")):
            done = self.train(*command)
            self.assertEqual(done.returncode, 1)
            line = done.stderr.splitlines()[-1]
            self.assertIn("a.txt: has changed since the run in mine began", line)
            self.assertIn("--kept-data", line)
        done = self.train("--resume", "mine", "--kept-data", "--no-peak")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.train(*run, "--fresh", "--kept-data").returncode, 2)
        self.assertEqual(self.train(*run, "--fresh").returncode, 0)

    def test_the_shorter_of_two_lengths_counts(self):
        done = self.train("--data", self.text, *SMALL, "--steps", "6", "--minutes", "50", "--out", "few")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("trained 6 steps", done.stdout)
        done = self.train("--data", self.text, *SMALL, "--steps", "100000000", "--minutes", "0.05", "--out", "short")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("trained 100000000 steps", done.stdout)
        planned = self.train("--data", self.text, *SMALL, "--steps", "7", "--minutes", "50", "--dry-run")
        self.assertIn("stage 1      7 steps", planned.stdout)

    def test_recipes_name_data_from_where_they_lie(self):
        (self.folder / "r").mkdir()
        (self.folder / "r/recipe.json").write_text(json.dumps({
            "out": "made", "isa": "avx2", "model": {"layers": 1, "width": 32, "context": 32},
            "tokenizer": {"kind": "characters"},
            "stages": [{"data": [{"path": "../text"}], "batch": 128, "steps": 4}]}))
        done = self.train("r/recipe.json", "--no-peak", "--steps", "6")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("trained 6 steps", done.stdout)


class Examples(Case):
    """The small recipes that are shipped, as they are."""

    def lines(self, recipe, out, *more):
        done = self.train(EXAMPLES / recipe, "--out", out, "--no-peak", *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"tokenworks serve {out}", done.stdout)
        return [json.loads(line) for line in (self.folder / out / "log.jsonl").read_text().splitlines()]

    def test_a_small_model_learns_from_a_larger_one(self):
        self.lines("distill-teacher.json", "large")
        lines = self.lines("distill.json", "small", "--teacher-path", "large")
        losses = [line["label_loss"] for line in lines if "label_loss" in line]
        self.assertEqual(len(losses), 150)
        self.assertLess(losses[-1], losses[0] - 1.5)

    def test_preferences_are_learnt_and_remembered(self):
        lines = self.lines("dpo.json", "kind")
        steps = [line for line in lines if "reward_accuracy" in line]
        self.assertAlmostEqual(steps[0]["loss"], math.log(2), delta=0.02)  # of weights in bf16
        self.assertLess(steps[-1]["loss"], 0.3)
        held_out = [line["validation_accuracy"] for line in lines if "validation_accuracy" in line]
        self.assertGreater(held_out[-1], 0.9)
        self.serve("kind")


class Mistakes(Case):
    def complaint(self, *arguments, status=1):
        done = self.train(*arguments)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(done.stdout, "")
        line = done.stderr.splitlines()[-1]
        self.assertRegex(line, r"\Atokenworks: [^\n]+\Z")
        return line

    def test_data_that_is_not_there_or_no_text(self):
        self.assertIn("give --data FOLDER or a recipe", self.complaint())
        self.assertIn("nowhere: there is no such folder", self.complaint("--data", "nowhere"))
        (self.folder / "empty").mkdir()
        self.assertIn("empty: has no .txt", self.complaint("--data", "empty"))
        (self.text / "b.txt").write_bytes(b"PNG\x00\x01\xff")
        said = self.complaint("--data", self.text, *SMALL, "--steps", "2")
        self.assertIn("b.txt: is no UTF-8 text", said)
        (self.text / "b.txt").unlink()
        (self.text / "c.jsonl").write_text('{"text": "fine"}\n{"text": \n')
        self.assertIn("c.jsonl:2: not valid JSON", self.complaint("--data", self.text, *SMALL, "--steps", "2"))

    def test_conversations_without_a_word(self):
        (self.folder / "c.jsonl").write_text('{"messages": [{"role": "user"}]}\n')
        self.assertIn("c.jsonl: there is no text to train a tokenizer on", self.complaint("--chat", "c.jsonl", "--steps", "2"))

    def test_a_tokenizer_that_was_damaged_since(self):
        self.assertEqual(self.train("--data", self.text, *SMALL, "--steps", "2", "--out", "mine").returncode, 0)
        (self.folder / "mine/tokenizer/tokenizer.json").write_bytes(b"\x00\xff")
        said = self.complaint("--resume", "mine")
        self.assertIn("mine/tokenizer/tokenizer.json: not valid JSON", said)
        self.assertIn("--fresh", said)

    def test_preferences_that_are_wrong(self):
        pairs = self.folder / "pairs.jsonl"
        pairs.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": [], "rejected": "c"}\n')
        self.assertIn("learns preferences, which a model must have answers to", self.complaint("--pairs", pairs, "--steps", "2"))
        self.assertIn('pairs.jsonl:2: "prompt", "chosen" and "rejected" must all be texts',
                      self.complaint("--pairs", pairs, "--start", TINY, "--steps", "2"))

    def test_recipes_that_are_wrong(self):
        recipe = self.folder / "r.json"
        recipe.write_text('{\n "stages": [\n  {"data": [{"path": "text"}], "stepz": 3}\n ]\n}')
        self.assertIn('r.json:3: there is no "stepz" in stages[0]; the nearest is "steps"', self.complaint(recipe))
        recipe.write_text('{\n "stages": [')
        self.assertIn("r.json:2: not valid JSON", self.complaint(recipe))
        self.assertIn("no.json", self.complaint("no.json"))
        self.assertIn("--schedule-peak is 11", self.complaint("--data", self.text, "--schedule-peak", "11"))
        self.assertIn("--optimizer-kind is \"sgd\", but must be one of: adamw, muon, adafactor, rmsprop",
                      self.complaint("--data", self.text, "--optimizer-kind", "sgd"))
        self.assertIn("--optimizer-decay is -0.5, but must be 0 to 10", self.complaint("--data", self.text, "--optimizer-decay", "-0.5"))
        self.assertIn("--attention-dropout is -1, but must be 0 to 0.999999",
                      self.complaint("--data", self.text, "--attention-dropout", "-1"))
        self.assertIn("--precision is \"fp8\"", self.complaint("--data", self.text, "--precision", "fp8"))
        (self.folder / "run").mkdir()
        (self.folder / "run/run.json").write_text('{"asked": {"stages": [{"data": [{"path": "text"}]}]}}')
        recipe.write_text('{"stages": [{"data": [{"path": "text"}]}]}')
        for more in ([recipe], ["--data", self.text]):
            self.assertIn("but not both", self.complaint("--resume", "run", *more))
        self.assertIn("leave --out away", self.complaint("--resume", "run", "--out", "other"))
        self.assertIn("give it --teacher-path", self.complaint("--data", self.text, "--teacher-top", "5"))
        self.assertIn("see tokenworks train --help", self.complaint("--data", self.text, "--stepz", "3", status=2))

    def test_who_gives_flags_is_told_of_flags(self):
        run = ("--data", self.text, *SMALL, "--steps", "3", "--out", "mine")
        self.assertEqual(self.train(*run).returncode, 0)
        self.assertIn("mine: holds a run of another recipe: --schedule-peak was 0.0 and is 0.5;",
                      self.complaint(*run, "--schedule-peak", "0.5"))
        self.assertIn("recipe: --data was \"", self.complaint(*run[2:], "--data", self.text / "a.txt"))
        self.assertIn("--schedule-warmup was not given and is 2;", self.complaint("--resume", "mine", "--schedule-warmup", "2"))
        self.assertIn("recipe: --seed was 0 and is 1;", self.complaint("--resume", "mine", "--seed", "1"))
        self.assertIn("--model-layers and --model-width go together", self.complaint("--data", self.text, "--model-layers", "2"))
        self.assertIn("the run has sequences of 64 tokens, but steps of 32: make --batch larger",
                      self.complaint("--data", self.text, "--sequence", "64", "--batch", "32"))
        self.assertIn("give it a --start", self.complaint("--pairs", self.text))
        self.assertIn("--model-heads is given, but the model to start from has a shape",
                      self.complaint("--data", self.text, "--start", TINY, "--model-heads", "4"))
        self.assertIn("--model-rope-theta is 10000, but the model to start from has 1000000: give the stage's --rope-theta",
                      self.complaint("--data", self.text, "--start", TINY, "--model-rope-theta", "10000", "--out", "b"))
        recipe = self.folder / "r.json"
        recipe.write_text(json.dumps({"model": {"layers": 2}, "stages": [{"data": [{"path": "text"}]}]}))
        self.assertIn("model.layers and model.width go together", self.complaint(recipe))

    def test_what_is_of_a_run_is_no_model(self):
        run = ("--data", self.text, *SMALL, "--steps", "3", "--out", "mine")
        self.assertEqual(self.train(*run).returncode, 0)
        checkpoint = "mine/checkpoints/step-00000003"

        def told(model):
            for verb in (["quantize", model, "o.gguf"], ["run", model, "hi"], ["eval", model, "--text", self.text / "a.txt"],
                         ["inspect", model], ["serve", model, "--port", "0"]):
                done = subprocess.run([PROGRAM, *map(str, verb)], cwd=self.folder, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ""), done)
                said.add(done.stderr)
            self.assertEqual(len(said), 1, said)
            return said.pop()

        said = set()
        self.assertEqual(told(checkpoint), f"tokenworks: {checkpoint}: is a training checkpoint and no model: name mine, "
                                           "which holds the run's model\n")
        inside = subprocess.run([PROGRAM, "inspect", "."], cwd=self.folder / checkpoint, capture_output=True, text=True,
                                timeout=60, check=False)
        self.assertIn(f"name {(self.folder / 'mine').resolve()}, which holds the run's model", inside.stderr)
        (self.folder / "mine/config.json").unlink()
        self.assertEqual(told(checkpoint), f"tokenworks: {checkpoint}: is a training checkpoint and no model: end the run, "
                                           "which writes its model, by `tokenworks train --resume mine`\n")
        self.assertEqual(told("mine"), "tokenworks: mine: is of a training run and no model: end the run, "
                                       "which writes its model, by `tokenworks train --resume mine`\n")
        self.assertEqual(self.train("--resume", "mine").returncode, 0)
        self.serve("mine")

    def test_what_does_not_fit(self):
        said = self.complaint("--data", self.text, "--model-layers", "500", "--model-width", "32768", "--steps", "1", "--dry-run")
        self.assertIn("GiB are free here", said)
        self.assertIn("would fit", said)
        said = self.complaint("--data", self.text, "--tokenizer-kind", "file", "--tokenizer-path", self.text / "a.txt")
        self.assertIn("a.txt", said)
        self.assertIn("no training run", self.complaint("--resume", self.text))
        said = self.complaint("--data", self.text, "--start", TINY, "--tokenizer-kind", "file", "--tokenizer-path",
                              TINY.parent / "llama3", "--steps", "2")
        self.assertIn("the tokenizer does not fit: token ", said)
        self.assertIn("take the model's own", said)
        self.assertIn("give --adapter-rank", self.complaint("--data", self.text, "--adapter-dropout", "0.1"))
        (self.folder / "few").mkdir()
        (self.folder / "few/a.txt").write_text("hi")
        self.assertRegex(self.complaint("--data", "few", *SMALL, "--steps", "2"),
                         r"few: has too little text .*: give more text, or --validation-share 0\Z")


if __name__ == "__main__":
    unittest.main()
