#!/usr/bin/env python3
"""The verb plan: what it says, plans for the machine that the test runs on, measured in next to no time, and the examples.

plan_test.py PROGRAM [unittest arguments]
"""
import json
import os
import tempfile
import time
import unittest
from pathlib import Path

from cli_test import STORIES, run  # which takes PROGRAM from the arguments


def numbers_without_provenance(json_value, chosen, path="answer"):
    """Where a number stands by itself: neither in a quantity with unit, range and provenance, nor under a name in `chosen`."""
    if isinstance(json_value, dict):
        if {"value", "low", "high", "unit", "provenance"} <= json_value.keys():
            good = (json_value["low"] <= json_value["value"] <= json_value["high"] and json_value["provenance"] in
                    ("measured", "datasheet", "vendor claim", "extrapolated", "assumed"))
            return [] if good else [path]
        return [bad for key, value in json_value.items() if key not in chosen
                for bad in numbers_without_provenance(value, chosen, f"{path}.{key}")]
    if isinstance(json_value, list):
        return [bad for i, value in enumerate(json_value) for bad in numbers_without_provenance(value, chosen, f"{path}[{i}]")]
    return [path] if isinstance(json_value, (int, float)) and not isinstance(json_value, bool) else []


class Lines:
    def one_line(self, part, *words):
        done = run("plan", *words)
        self.assertEqual((done.returncode, done.stdout), (1, ""), words)
        self.assertRegex(done.stderr, r"\Atokenworks: [^\n]*\n\Z")
        self.assertIn(part, done.stderr)


class Plan(Lines, unittest.TestCase):
    def test_every_number_of_an_answer_has_unit_range_and_provenance(self):
        # Sizes that were asked for or chosen, counts, and what fits was fitted on.
        sizes = {"accelerators", "parameters", "stack_rows", "dp", "tp", "pp", "cp", "ep", "micro-batch", "interleave", "zero", "shard",
                 "attention_dp", "replicas", "batch", "sequence", "tokens", "steps", "idle_accelerators", "plans", "job",
                 "computed", "skipped", "fit", "cpu_seconds", "endpoints", "switches", "ports", "ports_used", "down", "up", "count",
                 "transceivers"}
        cluster = ["--accelerator", "H100", "--accelerators", "8", "--rent", "2.5 USD/h"]
        job = [*cluster, "--tokens", "2T", "--batch", "1024"]
        for wanted in (["serve", "llama-3-70b", *cluster, "--precision", "fp8", "--concurrency", "64", "--input", "512", "--output", "128"],
                       ["estimate", "llama-2-7b", *job, "--zero", "1", "--recompute", "full"],
                       ["search", "llama-2-7b", *job],
                       ["network", "--nodes", "128", "--topology", "rail", "--switch", "QM9700", "--nic", "400 Gb/s"]):
            done = run("plan", *wanted, "--json")
            self.assertEqual(done.returncode, 0, done)
            self.assertEqual(numbers_without_provenance(json.loads(done.stdout), sizes), [], wanted)
        self.assertEqual(numbers_without_provenance({"a": [{"b": 1}]}, sizes), ["answer.a[0].b"])

    def test_the_catalogue_in_three_forms(self):
        self.assertIn("GB300 NVL72", run("plan", "catalog").stdout)
        (row,) = json.loads(run("plan", "catalog", "H100", "--json").stdout)
        self.assertEqual(row["bf16_dense_tflops"]["value"], 989.4)
        self.assertEqual(row["bf16_dense_tflops"]["unit"], "TFLOP/s")
        self.assertEqual(row["price_usd_est"]["provenance"], "assumed")
        (chana,) = json.loads(run("plan", "catalog", "Chana", "--json").stdout)
        self.assertIsNone(chana["bf16_dense_tflops"])
        self.assertIn("H100 SXM,bf16_dense_tflops,989.4", run("plan", "catalog", "--csv").stdout)
        missing = run("plan", "catalog", "Z9000")
        self.assertEqual((missing.returncode, missing.stdout), (1, ""))
        self.assertRegex(missing.stderr, r"\Atokenworks: [^\n]*Z9000[^\n]*\n\Z")

    def test_an_estimate_has_numbers_or_one_clear_line(self):
        job = ["--accelerator", "H100", "--accelerators", "8", "--tokens", "2T", "--batch", "1024", "--recompute", "full"]
        answer = json.loads(run("plan", "estimate", "llama-2-7b", *job, "--zero", "1", "--json").stdout)
        self.assertEqual(answer["plan"]["dp"], 8)
        days = answer["figures"]["days"]
        self.assertTrue(0 < days["low"] < days["value"] < days["high"])
        for flags, part in (
            (["--zero", "0"], "the nearest plan that fits: dp 8 mb 1 zero 1"),
            (["--tp", "3"], "the plan is for 3 accelerators"),
            (["--tp", "3"], "the nearest plan that works: dp "),
            (["--micro-batch", "3", "--zero", "1"], "does not divide by dp 8 x micro-batch 3; the nearest plan that works: dp 8 mb 4 "),
            (["--tp", "0"], "tp is 0, but must be 1 to"),
            (["--pp", "-2"], "--pp: -2 is negative"),
            (["--pp", "many"], "\"many\" is no number ("),
            (["--offload", "activations"], "recompute selective or full holds fewer"),
            (["--dp", "4"], "the cluster has 8; the nearest plan that works: dp "),
            (["--offload", "parameters", "--tp", "3"], "no host memory (host_mem_gb, GB) for H100 SXM: give --host-memory"),
            (["--memory", "80"], "needs a unit"),
        ):
            done = run("plan", "estimate", "llama-2-7b", *job, *flags)
            self.assertEqual((done.returncode, done.stdout), (1, ""), flags)
            self.assertRegex(done.stderr, r"\Atokenworks: [^\n]*\n\Z")
            self.assertIn(part, done.stderr)

    def test_what_is_not_given_is_named_with_its_flag_and_key(self):
        whole = {"--accelerator": "H100", "--accelerators": "8", "--tokens": "2T", "--batch": "1024"}
        for verb in ("estimate", "search"):
            for flag, part in (("--accelerator", "give --accelerator H100, or \"accelerator\" in the cluster's file"),
                               ("--accelerators", "accelerators is not given, or 0: give --accelerators N"),
                               ("--tokens", "give --tokens 2T or --steps 10000"),
                               ("--batch", "batch is not given, or 0: give --batch N, or \"batch\" in the job's file")):
                flags = [text for key, value in whole.items() if key != flag for text in (key, value)]
                self.one_line(part, verb, "llama-2-7b", *flags)
        cluster = ["--accelerator", "H100", "--accelerators", "8"]
        self.one_line("give --input N", "serve", "llama-2-7b", *cluster)
        self.one_line("give --output N", "serve", "llama-2-7b", *cluster, "--input", "64")
        self.one_line("give --nodes N", "network")
        self.one_line("1e+18", "estimate", "llama-2-7b", *cluster, "--batch", "64", "--tokens", "1e300")
        self.one_line("--tokens 262144 would be one", "estimate", "llama-2-7b", *cluster, "--batch", "64", "--tokens", "9")
        self.one_line("--max-days is no number", "search", "llama-2-7b", *cluster, "--batch", "64", "--tokens", "2T",
                      "--max-days", "nan")
        self.one_line("--seconds is no number", "calibrate", "--seconds", "nan")
        twice = run("plan", "estimate", "llama-2-7b", "--batch", "8", "--batch", "9")
        self.assertEqual(twice.returncode, 2)
        self.assertIn("--batch: given 2 times", twice.stderr)

    def test_pages_are_whole_and_fetch_nothing(self):
        cluster = ["--accelerator", "H100", "--accelerators", "8"]
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.html"
            for wanted, parts in (
                (["serve", "mixtral-8x7b", *cluster, "--input", "1024", "--output", "256"],
                 ["Throughput against latency", "Divisions, the best batch of each", "Memory of a rank", "A token&#39;s time",
                  "What the tokens a second hang on", "<svg"]),
                (["network", "--nodes", "128", "--topology", "rail", "--switch", "QM9700", "--nic", "400 Gb/s"],
                 ["Non-blocking: yes"])):
                done = run("plan", *wanted, "--html", page)
                self.assertEqual(done.returncode, 0, done)
                text = page.read_text()
                for part in parts:
                    self.assertIn(part, text)
                self.assertNotRegex(text, r"<script|https?://|url\(|\bnan\b|\binf\b")
            # What is no file is not replaced by one.
            pipe = Path(folder) / "pipe"
            os.mkfifo(pipe)
            for wanted in (["network", "--nodes", "16", "--switch", "QM9700", "--nic", "400 Gb/s", "--html", pipe],
                           ["calibrate", "--seconds", "0", "--types", "F32", "--threads", "1", "--out", pipe]):
                done = run("plan", *wanted)
                self.assertEqual(done.returncode, 1, done)
                self.assertIn("is not a regular file", done.stderr)
                self.assertTrue(pipe.is_fifo())
            # Before anything is measured.
            start = time.monotonic()
            self.one_line("is not a regular file", "calibrate", "--seconds", "40", "--threads", "1", "--out", pipe)
            self.assertLess(time.monotonic() - start, 20)

    def one_line(self, part, *words):
        done = run("plan", *words)
        self.assertEqual((done.returncode, done.stdout), (1, ""), words)
        self.assertRegex(done.stderr, r"\Atokenworks: [^\n]*\n\Z")
        self.assertIn(part, done.stderr)

    def test_experts_with_a_capacity(self):
        def step(model, *more):
            done = run("plan", "estimate", model, "--accelerator", "H100", "--accelerators", "64", "--tokens", "1T", "--batch", "1024",
                       "--zero", "3", "--recompute", "full", "--ep", "8", *more, "--json")
            return done, json.loads(done.stdout)["figures"]["step_seconds"]["value"] if done.stdout else None
        whole, half = step("mixtral-8x7b")[1], step("mixtral-8x7b", "--expert-capacity", "0.5")[1]
        self.assertLess(half, 0.9 * whole)
        self.assertEqual(step("mixtral-8x7b", "--expert-capacity", "2")[1], whole)
        for model, capacity, part in (("llama-2-7b", "1", "llama-2-7b has no experts"), ("mixtral-8x7b", "-1", "must be 0 to")):
            done, _ = step(model, "--expert-capacity", capacity)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn(part, done.stderr)

    def test_a_pipeline_over_two_kinds(self):
        examples = Path(__file__).parent.parent / "examples/plan"
        job = ["llama-2-13b", "--job", examples / "mixed-job.json", "--cluster", examples / "mixed-cluster.json"]
        plan = ["--plan", examples / "mixed-plan.json"]
        answer = json.loads(run("plan", "estimate", *job, *plan, "--json").stdout)
        self.assertEqual([kind["accelerators"] for kind in answer["kinds"]], [8, 8])
        layers = {stage["accelerator"]: stage["layers"] for stage in answer["stages"]}
        self.assertEqual(sum(layers.values()), 40)
        self.assertGreater(layers["H100 SXM"], layers["A100 SXM 80GB"])
        for stage, memory in zip(answer["stages"], answer["memory_bytes_by_stage"]):
            self.assertLess(memory["total"]["value"], stage["capacity_bytes"]["value"])
        table = run("plan", "estimate", *job, *plan).stdout
        self.assertIn("on 8 x A100 SXM 80GB and 8 x H100 SXM", table)
        self.assertRegex(table, r"power, A100 SXM 80GB +[\d.]+ +[\d.]+ +[\d.]+ +MW +assumed")
        self.assertRegex(run("plan", "estimate", *job, *plan, "--csv").stdout, r"\nlayers_stage_0_kind_\d,\d+,")
        with tempfile.TemporaryDirectory() as folder:
            page, saved = Path(folder) / "page.html", Path(folder) / "plan.json"
            self.assertEqual(run("plan", "estimate", *job, *plan, "--html", page).returncode, 0)
            self.assertIn("stage 1, ", page.read_text())
            found = json.loads(run("plan", "search", *job, "--save", saved, "--html", page, "--json").stdout)
            best = found["searches"][0]["best"][0]
            again = json.loads(run("plan", "estimate", *job, "--plan", saved, "--json").stdout)
            self.assertEqual(again["stages"], best["stages"])
            self.assertLessEqual(best["figures"]["closed_form_step_seconds"]["value"],
                                 answer["figures"]["closed_form_step_seconds"]["value"] * (1 + 1e-9))
        for flags, part in (
            (["--tp", "8"], "need a pipeline, whose stages lie on one kind each; the nearest plan that works: dp "),
            (["--tp", "8", "--pp", "4"], "do not make 4 stages"),
            ([*plan, "--second-accelerator", "Z9000"], "Z9000"),
            ([*plan, "--second-memory", "20"], "needs a unit"),
            ([*plan, "--second-memory", "4 GB"], "on the second kind"),
            ([*plan, "--network", "torus", "--torus", "4x4"], "a torus has one kind"),
        ):
            done = run("plan", "estimate", *job, *flags)
            self.assertEqual((done.returncode, done.stdout), (1, ""), flags)
            self.assertRegex(done.stderr, r"\Atokenworks: [^\n]*\n\Z")
            self.assertIn(part, done.stderr)
        counts = run("plan", "search", *job, "--counts", "8,16")
        self.assertIn("--counts is for one kind", counts.stderr)
        serve = run("plan", "serve", "llama-2-13b", "--cluster", examples / "mixed-cluster.json", "--input", "64",
                    "--output", "16")
        self.assertIn("knows one kind of accelerator", serve.stderr)

    def test_what_search_saves_can_be_estimated(self):
        with tempfile.TemporaryDirectory() as folder:
            cluster = Path(folder) / "cluster.json"
            cluster.write_text('{"accelerator": "H100",\n "accelerators": 64}')
            job = ["llama-2-7b", "--cluster", cluster, "--tokens", "2T", "--batch", "1024"]
            saved = Path(folder) / "plan.json"
            found = json.loads(run("plan", "search", *job, "--save", saved, "--json").stdout)
            self.assertEqual(found["best"], json.loads(saved.read_text()))
            best = found["searches"][0]["best"][0]["figures"]["step_seconds"]
            again = json.loads(run("plan", "estimate", *job, "--plan", saved, "--json").stdout)
            self.assertAlmostEqual(again["figures"]["step_seconds"]["value"], best["value"])
            cluster.write_text('{"accelerator": "H100",\n "acelerators": 64}')
            self.assertIn("cluster.json:2: there is no field", run("plan", "search", *job).stderr)

    def test_what_search_does_not_know_is_no_number(self):
        job = ["llama-2-7b", "--accelerator", "TPUv4", "--counts", "8,16", "--tokens", "2T", "--batch", "64",
               "--scale-up-bandwidth", "300 GB/s"]
        header, *lines = run("plan", "search", *job, "--csv").stdout.splitlines()
        self.assertGreater(len(lines), 1)
        column = header.split(",").index("usd")
        self.assertEqual({line.split(",")[column] for line in lines}, {""})
        table = run("plan", "search", *job).stdout
        self.assertRegex(table, r"\n +16 +[\d.]+ +- ")
        self.assertNotIn("on the front", table.split("accelerators       days")[1])
        dear = run("plan", "search", *job, "--objective", "usd")
        self.assertEqual((dear.returncode, dear.stdout), (1, ""))
        self.assertIn("the usd of the plans are not known", dear.stderr)

    def test_a_network_has_counts_and_checks_or_one_clear_line(self):
        rail = ["--topology", "rail", "--switch", "qm9700", "--nic", "400 Gb/s"]
        answer = json.loads(run("plan", "network", "--nodes", "1024", *rail, "--json").stdout)
        self.assertEqual([tier["switches"] for tier in answer["tiers"]], [256, 256, 128])
        self.assertTrue(answer["non_blocking"] and all(check["ok"] for check in answer["checks"]))
        self.assertEqual(answer["figures"]["cables"]["value"], 3 * 8192)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.json"
            file.write_text('{"nodes": 1024, "nic": "400 Gb/s",\n "radix": 64, "switch-power": "1 kW"}')
            lines = run("plan", "network", "--network", file, "--csv").stdout.splitlines()
            self.assertIn("switches: core,128,128,128,,extrapolated", lines)
            self.assertRegex("\n".join(lines), r"\nwatts,[\d.e+]+,")
            file.write_text('{"nodes": 1024, "nic": "400 Gb/s",\n "radius": 64}')
            self.assertIn("network.json:2: there is no field", run("plan", "network", "--network", file).stderr)
        self.assertIn("non-blocking: yes", run("plan", "network", "--nodes", "128", *rail).stdout)
        for flags, part in (
            (["--nodes", "1024", "--tiers", "2"], "--tiers 3 would, with 640 switches"),
            (["--nodes", "9000"], "--nodes 8192 would do"),
            (["--nodes", "16", "--nic-power", "25"], "needs a unit"),
            (["--nodes", "16", "--spine-switch", "SN9"], "SN5600"),
        ):
            done = run("plan", "network", *rail, *flags)
            self.assertEqual((done.returncode, done.stdout), (1, ""), flags)
            self.assertRegex(done.stderr, r"\Atokenworks: [^\n]*\n\Z")
            self.assertIn(part, done.stderr)

    def test_validation_from_any_folder_and_of_rows_of_ones_own(self):
        with tempfile.TemporaryDirectory() as folder:
            lines = [json.loads(line) for line in run("plan", "validate", "--json", cwd=folder).stdout.splitlines()]
            self.assertEqual({line["set"] for line in lines}, {"training-multi-node", "training-single-node",
                                                              "training-selene", "training-other", "search",
                                                              "serve-dense", "serve-moe", "serve-ttft",
                                                              "serve-mlperf"})
            for line in lines:
                self.assertEqual(list(line), ["set", "rows", "unpredicted", "metric", "value", "target", "met"])
            shipped = Path(__file__).parent.parent / "data/planner/training_measured.csv"
            rows = shipped.read_text().splitlines()
            mine = Path(folder) / "mine.csv"
            mine.write_text("\n".join([rows[0], *(row for row in rows if row.startswith("Megatron-LM SC21,"))]) + "\n")
            done = run("plan", "validate", "--json", "--training", mine)
            trained = [line for line in map(json.loads, done.stdout.splitlines()) if line["set"].startswith("training")]
            self.assertEqual([(line["set"], line["rows"], line["unpredicted"]) for line in trained],
                             [("training-other", 10, 0)])
            mine.write_text("a,b\n1,2\n")
            done = run("plan", "validate", "--training", mine)
            self.assertEqual(done.returncode, 1)
            self.assertIn("mine.csv: there is no column 'system'", done.stderr)


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
    def plan(cls, *arguments, timeout=60):
        return run("plan", *arguments, env=cls.env, timeout=timeout)

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
        self.assertEqual(json.loads(self.file.read_text())["format"], "tokenworks calibration 3")
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
        other.write_text(self.file.read_text().replace("calibration 3", "calibration 1", 1))
        self.fails(self.plan(*job), str(other), "calibration 1", "run `tokenworks plan calibrate` again")
        other.write_text(self.file.read_text())
        self.assertEqual(self.plan(*job).returncode, 0)
        self.fails(self.plan(*job, "--precision", "fp4"), "calibrate --types Q4_0 --threads 1")
        self.fails(self.plan(*job, "--accelerators", "2"), "one accelerator, not 2")
        for flag, value in (("--peak", "1 TFLOP/s"), ("--memory-bandwidth", "100 GB/s"), ("--scale-up-bandwidth", "10 GB/s")):
            self.fails(self.plan(*job, flag, value), f"{flag[2:]} has no effect on this-machine")
        self.fails(self.plan("calibrate", "--types", "Q7_Z"), "Q7_Z", "Q8_0")
        self.fails(self.plan("calibrate", "--seconds", "0.01", "--types", "F32", "--threads", "1", "--out",
                             Path(self.home.name) / "calibration.json/x"), "calibration.json/x")

    def planned(self, verb, *more):
        """The file of a plan for a small model here, and its estimate."""
        shape, file = Path(self.home.name) / "shape.json", Path(self.home.name) / f"{verb}.json"
        shape.write_text(json.dumps({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 160, "vocab_size": 300,
            "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000, "tie_word_embeddings": True}))
        done = self.plan(verb, shape, "--accelerator", "this-machine", "--steps", "8", "--batch", "8", "--sequence", "32", *more,
                         "--json")
        self.assertEqual(done.returncode, 0, done)
        file.write_text(done.stdout)
        answer = json.loads(done.stdout)
        return file, answer if verb == "estimate" else answer["searches"][0]["best"][0]

    def train(self, *arguments):
        text = Path(self.home.name) / "text"
        text.mkdir(exist_ok=True)
        (text / "a.txt").write_text((Path(__file__).parent / "data/text/tinyshakespeare.txt").read_text()[:30000])
        return run("train", "--data", text, "--threads", "1", "--no-peak", *arguments, env=self.env)

    def test_train_executes_what_was_planned_here(self):
        for verb, more in (("estimate", ["--micro-batch", "2", "--recompute", "full"]), ("search", [])):
            file, estimate = self.planned(verb, *more)
            out = Path(self.home.name) / f"trained-{verb}"
            dry = self.train("--plan", file, "--out", out, "--dry-run")
            self.assertEqual(dry.returncode, 0, dry)
            # Both count parameters, FLOPs and memory, and say the same.
            self.assertIn(f"{estimate['parameters'] / 1e3:.1f} k parameters", dry.stdout)
            self.assertIn(f"{estimate['figures']['model_flops']['value'] / 1e9:.2f} GFLOP", dry.stdout)
            self.assertIn(f"memory       {estimate['memory_bytes_by_stage'][0]['total']['value'] / 2**20:.1f} MiB", dry.stdout)
            self.assertNotIn("its figures are others", dry.stderr)
            done = self.train("--plan", file, "--out", out)
            self.assertEqual(done.returncode, 0, done)
            self.assertIn("trained 8 steps", done.stdout)
            filled = json.loads((out / "run.json").read_text())["filled"]
            stage, plan = filled["stages"][0], estimate["plan"]
            self.assertEqual((stage["sequence"], stage["batch"], stage["micro-batch"], stage["steps"], stage["recompute"]),
                             (32, 256, 32 * plan["micro-batch"], 8, "block" if plan["recompute"] == "full" else "none"))
            self.assertEqual(filled["precision"], estimate["job"]["precision"])

    def test_flags_win_over_a_plan_and_what_cannot_run_here_is_refused(self):
        file, estimate = self.planned("estimate")
        dry = self.train("--plan", file, "--model-layers", "1", "--model-width", "32", "--steps", "7", "--dry-run")
        self.assertEqual(dry.returncode, 0, dry)
        self.assertIn("7 steps of 256 tokens", dry.stdout)
        self.assertIn(f"the plan is for a model of {estimate['parameters']} parameters", dry.stderr)
        saved = Path(self.home.name) / "saved.json"
        other = self.plan("estimate", "llama-2-7b", "--accelerator", "H100", "--accelerators", "8", "--tokens", "2T", "--batch", "1024",
                          "--zero", "3", "--recompute", "full", "--json")
        for text, part in ((other.stdout, "--accelerator this-machine"), ('{"dp": 4, "tp": 2}', "needs 8 processes, and train runs in one"),
                           ('{"micro-batch": 2}', "--sequence"), ('{"micro-bitch": 2}', "there is no field"),
                           ('{"plan": {}, "job": {"batch": 8}}', "no answer of `tokenworks plan estimate`")):
            saved.write_text(text)
            self.fails(self.train("--plan", saved, "--dry-run"), str(saved), part)
        saved.write_text('{"micro-batch": 2, "recompute": "full"}')
        self.assertEqual(self.train("--plan", saved, "--sequence", "32", "--model-layers", "1", "--model-width", "32", "--steps", "2",
                                    "--dry-run").returncode, 0)

    def test_its_set_is_run_when_it_is_asked_for(self):
        # The store is empty: stories260K, and 144M random weights in the one quantized type that was calibrated.
        runs = ["--prompt", "16", "--generate", "4", "--repeat", "1", "--batch", "1"]
        # It trains, which takes over a minute in a program that checks each address.
        done = run("plan", "validate", "--this-machine", *runs, "--json", env=self.env, timeout=300,
                   cwd=Path(__file__).parent.parent)
        (line,) = map(json.loads, done.stdout.splitlines())
        self.assertEqual(list(line), ["set", "rows", "unpredicted", "metric", "value", "target", "met"])
        self.assertEqual((line["set"], line["rows"], line["unpredicted"], line["target"]), ("this-machine", 7, 0, 10))
        self.assertEqual((done.returncode == 0), line["met"])
        self.assertEqual(self.plan("validate", *runs).returncode, 2)

    def test_every_example_of_a_plan_runs(self):
        examples = Path(__file__).parent.parent / "examples/plan"
        wanted = {"7b": ["estimate", "llama-2-7b"], "405b": ["estimate", "llama-3-405b"],
                  "afm": ["search", "afm-server"], "mixed": ["estimate", "llama-2-13b"], "deepseek-v3": ["search", "deepseek-v3"],
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
