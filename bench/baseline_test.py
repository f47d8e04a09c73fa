#!/usr/bin/env python3
"""What baseline.py calls moved."""

import unittest

import baseline


def entry(name, value, unit, bench="kernels_bench"):
    return (bench, name), {"bench": bench, "name": name, "value": value, "unit": unit}


BEFORE = dict([entry("rate", 10, "bytes/s"), entry("time", 5, "ns"), entry("same", 5, "ns"), entry("old", 1, "ns"),
               entry("other", 1, "ns", "tokenizer_bench")])


class Moves(unittest.TestCase):
    def test_what_moved_is_told_by_its_direction(self):
        now = dict([entry("rate", 15, "bytes/s"), entry("time", 10, "ns"), entry("same", 5.2, "ns"), entry("new", 1, "ns")])
        self.assertEqual(sorted(baseline.moves(BEFORE, now)),
                         sorted([("+50 %", "rate"), ("-50 %", "time"), ("new", "new"), ("gone", "old")]))

    def test_programs_that_did_not_run_are_left_out(self):
        now = dict([entry("other", 1, "ns", "tokenizer_bench")])
        self.assertEqual(list(baseline.moves(BEFORE, now)), [])

    def test_failed_benchmarks_are_no_figures(self):
        lines = ['{"bench": "b", "name": "n", "value": null, "error": "x"}', "", '{"bench": "b", "name": "m", "value": 2, "unit": "ns"}']
        self.assertEqual(list(baseline.read(lines)), [("b", "m")])


if __name__ == "__main__":
    unittest.main()
