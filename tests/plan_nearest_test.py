#!/usr/bin/env python3
"""What `plan estimate` names in place of a plan that does not work: it is fed back, and has to.

plan_nearest_test.py PROGRAM [unittest arguments]
"""
import json
import re
import unittest

from cli_test import run  # which takes PROGRAM from the arguments


class Nearest(unittest.TestCase):
    def test_the_nearest_plan_works(self):
        cases = (["llama-2-7b", "--accelerators", "8", "--batch", "1024", "--dp", "4"],
                 ["llama-2-7b", "--accelerators", "8", "--batch", "1024", "--tp", "3", "--recompute", "full"],
                 ["llama-2-7b", "--accelerators", "8", "--batch", "1024", "--micro-batch", "3", "--zero", "1"],
                 ["llama-3-8b", "--accelerators", "64", "--batch", "64", "--sequence", "196608", "--tp", "3"])
        for model, *job in cases:
            common = ["estimate", model, "--accelerator", "H100", "--tokens", "2T"]
            told = run("plan", *common, *job)
            self.assertEqual(told.returncode, 1, job)
            self.assertNotIn(" would", told.stderr)  # one advice, which was tried
            found = re.search(r"the nearest plan that works: ([^\n]*)", told.stderr)
            self.assertTrue(found, told.stderr)
            flags = {"mb": "micro-batch", "vpp": "interleave"}
            words = found.group(1).split()
            sequence = "sp" in words
            words = [word for word in words if word != "sp"]
            given = {f"--{flags.get(name, name)}": value for name, value in zip(words[::2], words[1::2])}
            kept = [text for name, value in zip(job[::2], job[1::2]) if name in ("--accelerators", "--batch", "--sequence")
                    for text in (name, value)]
            again = run("plan", *common, *kept, *[text for pair in given.items() for text in pair], *(["--sp"] if sequence else []))
            self.assertEqual(again.returncode, 0, (told.stderr, again.stderr))

    def works(self, model, told, *flags):
        """Feeds a plan that was named back, as flags."""
        words = told.split()
        names = {"mb": "micro-batch", "vpp": "interleave"}
        plan = [word for word in words if word != "sp"]
        given = [text for name, value in zip(plan[::2], plan[1::2]) for text in (f"--{names.get(name, name)}", value)]
        done = run("plan", "estimate", model, "--accelerator", "H100", "--tokens", "2T", "--batch", "1024", *flags, *given,
                   *(["--sp"] if "sp" in words else []))
        self.assertEqual(done.returncode, 0, (told, done.stderr))

    def test_larger_groups_that_share_are_tried(self):
        job = ["llama-3-70b", "--accelerator", "H100", "--accelerators", "512", "--tokens", "2T", "--batch", "1024", "--zero", "3"]
        told = run("plan", "estimate", *job, "--shard", "8", "--recompute", "full")
        found = re.search(r"; the nearest plan that fits: (.*)", told.stderr)
        self.assertTrue(found, told.stderr)
        shard = int(re.search(r" shard (\d+)", found.group(1)).group(1))
        self.works("llama-3-70b", found.group(1), "--accelerators", "512")
        # None of the smaller groups fits.
        for smaller in (16, 32, 64, 128):
            if smaller < shard:
                done = run("plan", "estimate", *job, "--shard", str(smaller), "--recompute", "full")
                self.assertIn("does not fit", done.stderr)

    def test_the_nearest_number_of_accelerators_is_named(self):
        for model, count in (("llama-3-405b", 8), ("llama-3-405b", 64), ("llama-3-70b", 7)):
            for verb in ("estimate", "search"):
                job = [verb, model, "--accelerator", "H100", "--accelerators", str(count), "--tokens", "2T", "--batch", "1024"]
                told = run("plan", *job)
                self.assertRegex(told.stderr, r"\Atokenworks: [^\n]*\n\Z")
                found = re.search(r"; the nearest number of accelerators that fits: (\d+), as (.*)", told.stderr)
                self.assertTrue(found, told.stderr)
                self.assertGreater(int(found.group(1)), count)
                self.works(model, found.group(2), "--accelerators", found.group(1))
        # Beyond a domain the catalogue would have to know more.
        told = run("plan", "search", "llama-3-405b", "--accelerator", "MI300X", "--accelerators", "8", "--tokens", "2T", "--batch",
                   "1024")
        self.assertRegex(told.stderr, r"; to tell how many would: .*give --nic ")

    def test_a_reason_is_told_once(self):
        told = run("plan", "estimate", "llama-2-7b", "--accelerator", "H100", "--accelerators", "8", "--tokens", "2T", "--batch", "1024",
                   "--zero", "3", "--recompute", "full", "--failures", "100000").stderr
        self.assertEqual(told.count("nothing is trained between"), 1, told)
        self.assertNotIn("is no plan either", told)

    def test_groups_of_replicas_share(self):
        job = ["llama-2-7b", "--accelerator", "H100", "--accelerators", "64", "--tokens", "2T", "--batch", "1024",
               "--recompute", "full"]
        three = [*job, "--zero", "3"]
        all_share = json.loads(run("plan", "estimate", *three, "--json").stdout)
        groups = json.loads(run("plan", "estimate", *three, "--shard", "8", "--json").stdout)
        self.assertEqual((all_share["plan"]["shard"], groups["plan"]["shard"]), (0, 8))
        (all_of_it,), (of_a_group,) = all_share["memory_bytes_by_stage"], groups["memory_bytes_by_stage"]
        for part in ("weights", "gradients", "optimizer"):
            self.assertAlmostEqual(of_a_group[part]["value"] / all_of_it[part]["value"], 8)
        self.assertIn("shard 8", run("plan", "estimate", *three, "--shard", "8").stdout)
        for flags, part in ((["--shard", "7", "--zero", "3"], "by shard 7; the nearest plan that works: dp 64 mb 1 zero 3 shard 8 "), (["--shard", "8"], "nothing to share with zero 0; the nearest plan that works: dp "),
                            (["--shard", "many"], "--shard: ")):
            done = run("plan", "estimate", *job, *flags)
            self.assertEqual((done.returncode, done.stdout), (1, ""), flags)
            self.assertRegex(done.stderr, r"\Atokenworks: [^\n]*\n\Z")
            self.assertIn(part, done.stderr)

    def test_a_served_model_is_told_why_and_what_fits(self):
        job = ["plan", "serve", "llama-2-7b", "--accelerators", "4", "--tp", "2", "--input", "512", "--output", "128"]
        for accelerator, flags, end in (("A100 PCIe 40GB", [], ": the nearest that fits is tp 1 pp 1 ep 1\n"),
                                        ("T4", ["--nic", "100 Gb/s"], ": the nearest that fits is tp 1 pp 2 ep 1\n"),
                                        ("T4", [], '; to tell which fits: the catalogue has no nic (nic_gbs, GB/s) for T4: give --nic')):
            done = run(*job, "--accelerator", accelerator, *flags)
            self.assertEqual((done.returncode, done.stdout), (1, ""), accelerator)
            why = f"tp and ep stay inside a scale-up domain, which is 1 of {accelerator} (--scale-up)"
            self.assertIn(why + end, done.stderr)
        unstated = run(*job, "--accelerator", "H200 NVL")  # blanks are not guessed
        self.assertEqual((unstated.returncode, unstated.stdout), (1, ""))
        self.assertRegex(unstated.stderr, r"\Atokenworks: the catalogue has no [^\n]*H200 NVL: give --scale-up 8 [^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()
