#!/usr/bin/env python3
"""Plans for the machine that the test runs on, measured in next to no time, and the examples of plans.

plan_machine_test.py PROGRAM [unittest arguments]
"""
import json
import os
import tempfile
import unittest
from pathlib import Path

from cli_test import STORIES, run  # which takes PROGRAM from the arguments


class ThisMachine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.home.cleanup)
        cls.env = {**os.environ, "TOKENWORKS_HOME": cls.home.name}
        cls.file = Path(cls.home.name) / "calibration.json"
        cls.before = cls.plan("serve", STORIES, "--accelerator", "this-machine", "--input", "64", "--output", "16")
        cls.made = cls.plan("calibrate", "--seconds", "0.01", "--threads", "1", "--types", "F32,BF16,Q8_0")

    @classmethod
    def plan(cls, *arguments):
        return run("plan", *arguments, env=cls.env)

    def fails(self, done, *parts):
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertRegex(done.stderr, r"\Atokenworks: [^\n]+\n\Z")
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_without_a_calibration_the_command_is_named(self):
        self.fails(self.before, "tokenworks plan calibrate", str(self.file))

    def test_what_is_measured_can_be_planned_with(self):
        self.assertEqual(self.made.returncode, 0, self.made)
        self.assertIn(str(self.file), self.made.stdout)
        self.assertEqual(json.loads(self.file.read_text())["format"], "tokenworks calibration 1")
        job = ["--accelerator", "this-machine", "--input", "64", "--output", "16"]
        answer = json.loads(self.plan("serve", STORIES, *job, "--json").stdout)
        self.assertEqual((answer["accelerator"], answer["accelerator_source"]), ("this-machine", str(self.file)))
        self.assertGreater(answer["figures"]["tokens_per_second"]["value"], 0)
        for wanted in (["serve", STORIES, *job],
                       ["estimate", STORIES, *job[:2], "--tokens", "1M", "--batch", "8", "--sequence", "64"],
                       ["search", STORIES, *job[:2], "--tokens", "1M", "--batch", "8", "--sequence", "64"]):
            done = self.plan(*wanted)
            self.assertEqual(done.returncode, 0, done)
            self.assertIn(str(self.file), done.stdout)

    def test_another_file_can_be_named_and_is_checked(self):
        other = Path(self.home.name) / "other.json"
        job = ["serve", STORIES, "--accelerator", "this-machine", "--calibration", other, "--input", "64", "--output",
               "16"]
        self.fails(self.plan(*job), "tokenworks plan calibrate", str(other))
        other.write_text(self.file.read_text().replace('"threads":1', '"threads":0', 1))
        self.fails(self.plan(*job), str(other), '"threads" is not a positive number')
        other.write_text(self.file.read_text())
        self.assertEqual(self.plan(*job).returncode, 0)
        self.fails(self.plan(*job, "--precision", "fp4"), "calibrate --types Q4_0 --threads 1")
        self.fails(self.plan(*job, "--accelerators", "2"), "one accelerator, not 2")
        self.fails(self.plan("calibrate", "--types", "Q7_Z"), "Q7_Z", "Q8_0")
        self.fails(self.plan("calibrate", "--seconds", "0.01", "--types", "F32", "--threads", "1", "--out",
                             Path(self.home.name) / "calibration.json/x"), "calibration.json/x")

    def test_its_set_is_run_when_it_is_asked_for(self):
        runs = ["--model", STORIES, "--prompt", "16", "--generate", "4", "--repeat", "1", "--batch", "1"]
        done = self.plan("validate", "--this-machine", *runs, "--json")
        (line,) = map(json.loads, done.stdout.splitlines())
        self.assertEqual(list(line), ["set", "rows", "unpredicted", "metric", "value", "target", "met"])
        self.assertEqual((line["set"], line["rows"], line["unpredicted"], line["target"]), ("this-machine", 5, 0, 10))
        self.assertEqual((done.returncode == 0), line["met"])
        self.assertEqual(self.plan("validate", *runs).returncode, 2)

    def test_every_example_of_a_plan_runs(self):
        examples = Path(__file__).parent.parent / "examples/plan"
        wanted = {"7b": ["estimate", "llama-2-7b"], "405b": ["estimate", "llama-3-405b"],
                  "afm": ["search", "afm-server"], "deepseek-v3": ["search", "deepseek-v3"],
                  "serve": ["serve", "deepseek-v3"], "this-machine": ["estimate", STORIES]}
        found = {file.name.rsplit("-", 1)[0] for file in examples.glob("*-cluster.json")}
        self.assertEqual(found, set(wanted))
        for name, (verb, model) in wanted.items():
            files = [part for kind in ("job", "cluster", "plan")
                     if (file := examples / f"{name}-{kind}.json").exists() for part in (f"--{kind}", file)]
            done = self.plan(verb, model, *files, "--json")
            self.assertEqual(done.returncode, 0, done)
            self.assertTrue(json.loads(done.stdout), name)
        done = self.plan("serve", STORIES, "--cluster", examples / "this-machine-cluster.json", "--job",
                         examples / "this-machine-serve.json", "--json")
        self.assertGreater(json.loads(done.stdout)["figures"]["tokens_per_second"]["value"], 0, done)


if __name__ == "__main__":
    unittest.main()
