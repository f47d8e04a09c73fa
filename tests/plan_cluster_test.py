#!/usr/bin/env python3
"""What `plan` makes of a cluster: blanks of the catalogue, hosts, spare nodes, and what does not go together.

plan_cluster_test.py PROGRAM [unittest arguments]
"""
import csv
import json
import tempfile
import unittest
from pathlib import Path

from cli_test import run  # which takes PROGRAM from the arguments
from plan_test import Lines, numbers_without_provenance


class Cluster(Lines, unittest.TestCase):
    def test_the_line_inside_a_domain_is_no_network(self):
        job = ["--tokens", "2T", "--batch", "1024"]
        large = ["llama-3-70b", "--accelerator", "MI300X", "--accelerators", "512", *job]
        refused = "nic_gbs, GB/s) for MI300X: give --nic \"400 Gb/s\" (\"nic\" in the cluster's file)"
        for verb, plan in (("estimate", ["--zero", "3"]), ("search", [])):
            self.one_line(refused, verb, *large, *plan)
        done = run("plan", "estimate", *large, "--zero", "3", "--shard", "8", "--recompute", "full", "--nic", "400 Gb/s")
        self.assertEqual(done.returncode, 0, done)
        inside = run("plan", "search", "llama-2-7b", "--accelerator", "MI300X", "--accelerators", "8", *job)
        self.assertEqual(inside.returncode, 0, inside)
        mixed = ["llama-2-7b", "--accelerator", "H100", "--accelerators", "8", "--second-accelerators", "8", *job, "--tp", "8",
                 "--pp", "2"]
        self.one_line("give --second-nic ", "estimate", *mixed, "--second-accelerator", "MI300X")
        # Whether ranks of these could share layers nobody says.
        trainium = ["llama-3-8b", "--accelerator", "Trainium2", "--accelerators", "16"]
        self.one_line("give --scale-up 8 ", "estimate", *trainium, *job, "--tp", "8")
        self.one_line("give --second-scale-up 8 ", "estimate", *mixed, "--second-accelerator", "Trainium2", "--second-nic", "400 Gb/s")
        served = run("plan", "serve", *trainium, "--input", "512", "--output", "64", "--pp", "1")
        self.assertRegex(served.stdout, r"warning: divisions that need it were not tried: .*give --scale-up 8 ")

    def test_spare_nodes(self):
        job = ["llama-2-7b", "--accelerator", "H100", "--accelerators", "8", "--tokens", "2T", "--batch", "1024", "--zero", "1",
               "--recompute", "full"]
        answer = json.loads(run("plan", "estimate", *job, "--spares", "1", "--json").stdout)
        self.assertEqual(numbers_without_provenance(answer["figures"], set()), [])
        self.assertEqual(answer["figures"]["spares"]["value"], 1)
        with tempfile.TemporaryDirectory() as folder:
            page, cluster = Path(folder) / "page.html", Path(folder) / "cluster.json"
            cluster.write_text('{"spares": 1, "repair": "2 days"}')
            table = run("plan", "estimate", *job, "--cluster", cluster, "--html", page).stdout
            for text in (table, page.read_text()):
                self.assertIn("waiting for repairs", text)
        self.assertRegex(table, r"\nwaiting for repairs +0\.\d+ +0\.\d+ +0\.\d+ +% +assumed ")
        search = ["search", *job[:3], *job[5:-4], "--counts", "8,16", "--csv"]
        found = run("plan", *search, "--spares", "0", "--repair", "30 days").stdout
        without = run("plan", *search).stdout
        first = [next(csv.DictReader(text.splitlines())) for text in (found, without)]
        self.assertAlmostEqual(float(first[0]["days"]) / float(first[1]["days"]), 1 + 30 * 3.8e-3, 4)
        for name in ("step_seconds", "bytes", "days", "usd", "mwh"):
            value, low, high = (float(first[0][name + end]) for end in ("", "_low", "_high"))
            self.assertTrue(0 < low < value < high, first[0])
        self.assertEqual(first[0]["provenance"], "assumed")
        for flags, part in ((["--spares", "1.5"], "spares is 1.5, but must be a whole number"),
                            (["--spares", "-1"], "--spares: -1 is negative"),
                            (["--repair", "1 day"], "repair has no effect without spares"),
                            (["--spares", "1", "--repair", "24"], "needs a unit"),
                            (["--spares", "1", "--second-accelerator", "A100", "--second-accelerators", "8"],
                             "spares are planned of one kind")):
            self.one_line(part, "estimate", *job, *flags)

    def test_what_lives_in_the_hosts(self):
        job = ["llama-2-7b", "--accelerator", "H100", "--accelerators", "2", "--tokens", "2T", "--batch", "64",
               "--zero", "2", "--recompute", "full"]
        host = ["--host-memory", "128 GB", "--host-bandwidth", "40 GB/s"]
        answer = json.loads(run("plan", "estimate", *job, *host, "--offload", "optimizer", "--json").stdout)
        (there,), (here,) = answer["host_memory_bytes_by_stage"], answer["memory_bytes_by_stage"]
        self.assertAlmostEqual(there["total"]["value"] / (16 * answer["parameters"] / 2), 1, places=3)
        self.assertEqual((here["optimizer"]["value"], here["gradients"]["value"]), (0, 0))
        figure = answer["figures"]["host_gigabytes"]
        self.assertTrue(0 < figure["low"] <= figure["value"] < figure["high"] and figure["unit"] == "GB")
        self.assertIn("Memory of its host", run("plan", "estimate", *job, *host, "--offload", "optimizer").stdout)
        self.assertIn("host_memory_stage_0,", run("plan", "estimate", *job, *host, "--offload", "optimizer", "--csv").stdout)
        for flags, part in (
            (["--offload", "optimizer"], "no host memory (host_mem_gb, GB) for H100 SXM: give --host-memory"),
            (["--offload", "optimizer", *host[:2]], "give --host-bandwidth"),
            (["--offload", "optimizer", "--host-memory", "40 GB", *host[2:]], "its hosts need"),
            (["--offload", "parameters", *host], "the nearest plan that works: dp 2 mb 1 zero 2 recompute full offload optimizer"),
            (["--offload", "disk", *host], "--offload: it is none, optimizer or parameters"),
            (["--offload", "optimizer", "--host-memory", "128"], "needs a unit"),
        ):
            done = run("plan", "estimate", *job, *flags)
            self.assertEqual((done.returncode, done.stdout), (1, ""), flags)
            self.assertRegex(done.stderr, r"\Atokenworks: [^\n]*\n\Z")
            self.assertIn(part, done.stderr)
        serve = run("plan", "serve", "llama-2-7b", "--accelerator", "H100", "--accelerators", "1", "--input", "64",
                    "--output", "16", *host)
        self.assertIn("host-memory has no effect on what is served", serve.stderr)

    def test_a_blank_of_the_catalogue_is_named_with_the_flag_that_fills_it(self):
        job = ["--accelerators", "8", "--batch", "64", "--tokens", "1T", "--zero", "3", "--recompute", "full"]
        known = []
        for flag, value, column in (("--memory-bandwidth", "1.6 TB/s", "mem_bw_gbs"),
                                    ("--scale-up-bandwidth", "196 GB/s", "scaleup_bw_gbs_per_dir")):
            lacking = run("plan", "estimate", "llama-2-7b", "--accelerator", "Ascend 910B", *job, *known)
            self.assertEqual((lacking.returncode, lacking.stdout), (1, ""))
            self.assertRegex(lacking.stderr, rf"\({column}, GB/s[^)]*\) for Ascend 910B: give {flag} ")
            self.assertIn(f"(\"{flag[2:]}\" in the cluster's file)", lacking.stderr)
            known += [flag, value]
        answer = run("plan", "estimate", "llama-2-7b", "--accelerator", "Ascend 910B", *job, *known, "--memory", "64 GB", "--json")
        self.assertEqual(answer.returncode, 0, answer)
        # Twice the peak makes the products faster, and a peak without a unit is refused.
        h100 = ["--accelerator", "H100", *job, "--json"]
        steps = [json.loads(run("plan", "estimate", "llama-2-7b", *h100, *more).stdout)["figures"]["step_seconds"]["value"]
                 for more in ([], ["--peak", "989.4 TFLOP/s"], ["--peak", "2 PFLOP/s"])]
        self.assertAlmostEqual(steps[0], steps[1])
        self.assertLess(steps[2], steps[0])
        self.one_line("needs a unit", "estimate", "llama-2-7b", *h100, "--peak", "989")
        # Lines that were measured are scaled, and this machine's are not to be told.
        shared = [*h100, "--tp", "8"]
        lines = [json.loads(run("plan", "estimate", "llama-2-7b", *shared, *more).stdout)["figures"]["step_seconds"]["value"]
                 for more in ([], ["--scale-up-bandwidth", "450 GB/s"], ["--scale-up-bandwidth", "45 GB/s"],
                              ["--scale-up-bandwidth", "4500 GB/s"])]
        self.assertAlmostEqual(lines[0], lines[1])
        self.assertGreater(lines[2], 1.1 * lines[0])
        self.assertLessEqual(lines[3], lines[0])
        # Of two kinds the second has flags of its own.
        mixed = ["--accelerator", "H100", "--second-accelerator", "L40S", "--second-accelerators", "8", *job]
        self.one_line("for L40S: give --second-nic ", "estimate", "llama-2-7b", *mixed, "--tp", "8", "--pp", "2")
        mixed[3] = "Ascend 910B"
        pipeline = [*mixed, "--tp", "8", "--pp", "2", "--second-nic", "25 GB/s", "--second-memory", "64 GB"]
        self.one_line("for Ascend 910B: give --second-memory-bandwidth ", "estimate", "llama-2-7b", *pipeline)
        done = run("plan", "estimate", "llama-2-7b", *pipeline, "--second-memory-bandwidth", "1.6 TB/s")
        self.assertEqual(done.returncode, 0, done)
        slower = run("plan", "estimate", "llama-2-7b", *pipeline, "--second-memory-bandwidth", "1.6 TB/s", "--second-peak",
                     "30 TFLOP/s")
        self.assertNotEqual(done.stdout, slower.stdout)
        # Money needs either of two numbers: both are named.
        answer = json.loads(run("plan", "serve", "llama-3-8b", "--accelerator", "A100", "--accelerators", "1", "--input", "64",
                                "--output", "16", "--json").stdout)
        missing = answer["figures"]["usd_per_million_tokens"]["missing"]
        self.assertRegex(missing, r"--rent .*price_usd_est.*--price")

    def test_sizes_that_do_not_go_together_are_one_line(self):
        job = ["llama-2-7b", "--accelerator", "H100", "--tokens", "2T", "--batch", "1024", "--zero", "3", "--recompute", "full"]
        many = [*job, "--accelerators", "64"]
        for flags, part in (
                ([*many, "--scale-up", "3"], "scale-up 3 does not divide 64 accelerators into scale-up domains: 2 or 4 would"),
                ([*many, "--per-node", "3"], "per-node 3 does not divide 64 accelerators into nodes: 2 or 4 would"),
                ([*many, "--scale-up", "0"], "scale-up is 0, but must be 1 to"),
                ([*many, "--per-node", "0"], "per-node is 0, but must be 1 to"),
                ([*many, "--network", "dragonfly"], "a dragonfly needs the accelerators of one of its groups: give --group 256, or "),
                ([*many, "--second-accelerator", "A100", "--second-accelerators", "8", "--second-scale-up", "3"], "scale-up 3 does not")):
            self.one_line(part, "estimate", *flags)
        for flags in (["--scale-up", "128"], ["--per-node", "4"], ["--network", "dragonfly", "--group", "32"]):
            self.assertEqual(run("plan", "estimate", *many, *flags).returncode, 0, flags)
        torus = ["llama-2-7b", "--accelerator", "TPU v4", "--accelerators", "64", "--tokens", "2T", "--batch", "1024", "--zero", "3",
                 "--recompute", "full", "--network", "torus", "--torus", "4x4x4"]
        advice = run("plan", "estimate", *torus)
        self.assertRegex(advice.stderr, r"\Atokenworks: [^\n]*give --torus-link \"50 GB/s\" [^\n]*\n\Z")
        self.assertEqual(advice.stderr.count("give --"), 1, advice.stderr)
        self.assertNotIn("choose another", advice.stderr)
        search = ["search", *job[:-4], "--counts", "4,256"]
        self.one_line("--accelerators 256 and --counts 4,256 say how many there are", *search, "--accelerators", "256")
        for verb, *rest in (["estimate", *many], search, ["serve", "llama-2-7b", "--accelerator", "H100", "--accelerators", "1", "--input",
                            "64", "--output", "16"], ["network", "--nodes", "2"], ["catalog"]):
            done = run("plan", verb, *rest, "--json", "--csv")
            self.assertEqual((done.returncode, done.stdout), (2, ""), verb)

    def test_a_count_that_fits_nothing_says_so(self):
        job = ["llama-3-70b", "--accelerator", "H100", "--tokens", "2T", "--batch", "1024", "--counts", "4,64"]
        table = run("plan", "search", *job).stdout
        self.assertIn("none fits: ", table)
        self.assertNotIn("(0 plans on the front)", table)
        self.assertEqual(table.count("time against memory"), 1)

    def test_what_has_no_effect_on_serving_is_refused(self):
        job = ["serve", "llama-2-7b", "--accelerator", "H100", "--accelerators", "1", "--input", "64", "--output", "16"]
        for flags in (["--failures", "4"], ["--checkpoint", "10 s"], ["--restart", "1 min"], ["--spares", "2"], ["--repair", "2 h"]):
            self.one_line(f"{flags[0][2:]} has no effect on what is served", *job, *flags)
        plain = json.loads(run("plan", *job, "--json").stdout)["figures"]
        figures = json.loads(run("plan", *job, "--carbon", "400 g/kWh", "--json").stdout)["figures"]
        self.assertNotIn("grams_co2_per_million_tokens", plain)
        # 700 W, 450 of the host and 50 of the network, times 1.25, are 1.5 kW: 600 g an hour.
        tokens = figures["tokens_per_second"]["value"] * 3600 / 1e6
        self.assertAlmostEqual(figures["grams_co2_per_million_tokens"]["value"], 600 / tokens)
        self.assertEqual(numbers_without_provenance(figures, set()), [])

    def test_an_unknown_stack_takes_the_median_one(self):
        job = ["llama-2-7b", "--accelerator", "H100", "--accelerators", "8", "--tokens", "2T", "--batch", "1024", "--zero", "3",
               "--recompute", "full"]
        done = run("plan", "estimate", *job, "--stack", "Foo")
        self.assertEqual(done.returncode, 0, done)
        found = run("plan", "search", *job[:-4], "--stack", "Foo")
        self.assertIn("software: Foo has no measured runs", found.stdout)
        self.assertRegex(done.stdout, r"software: Foo has no measured runs: the median stack's constants \(measured: .*Megatron-Bridge")
        answer = json.loads(run("plan", "search", *job[:-4], "--stack", "Foo", "--json").stdout)["searches"][0]["best"][0]
        self.assertEqual((answer["stack"], answer["stack_rows"]), ("Foo", 0))


if __name__ == "__main__":
    unittest.main()
