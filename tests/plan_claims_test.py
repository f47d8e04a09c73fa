#!/usr/bin/env python3
"""The verb plan claims: what its numbers carry, and how it refuses those that could be mistaken.

plan_claims_test.py PROGRAM [unittest arguments]
"""
import json
import tempfile
import unittest
from pathlib import Path

from cli_test import run  # which takes PROGRAM from the arguments
from plan_test import numbers_without_provenance


class PlanClaims(unittest.TestCase):
    def test_claims_are_found_from_any_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            lines = run("plan", "claims", "--json", cwd=folder).stdout.splitlines()
            self.assertGreaterEqual(len(lines), 25)
            verdicts = {json.loads(line)["verdict"] for line in lines}
            self.assertEqual(verdicts, {"consistent", "needs an assumption", "contradicted"})
            for claim in map(json.loads, lines):
                self.assertEqual(numbers_without_provenance(claim, set()), [])
                for number in [*claim["numbers"].values(), *claim["checks"]]:
                    self.assertRegex(number["unit"], r"\A[^\s:,;]+\Z", claim["file"])

    def test_numbers_of_a_claim_that_could_be_mistaken_are_refused_by_line(self):
        shipped = Path(__file__).parent.parent / "examples/claims/gpt-1.8t-hopper.json"
        lines = shipped.read_text().splitlines()
        with tempfile.TemporaryDirectory() as folder:
            mine = Path(folder) / "mine.json"
            for field, bad, part in (("duration", "90", 'needs a unit, such as "90 s"'), ("power", '"15"', 'needs a unit, such as "15 W"'),
                                     ("duration", '"15 MW"', "must have one of years, days"), ("gpus", "-8000", "is negative")):
                (at,) = [i for i, line in enumerate(lines) if line.startswith(f'    "{field}": ')]
                end = "," if lines[at].endswith(",") else ""
                mine.write_text("\n".join([*lines[:at], f'    "{field}": {bad}{end}', *lines[at + 1:]]))
                done = run("plan", "claims", mine)
                self.assertEqual((done.returncode, done.stdout), (1, ""), (field, bad))
                self.assertRegex(done.stderr, rf"\Atokenworks: [^\n]*mine\.json:{at + 1}: inputs: {field}: [^\n]*\n\Z")
                self.assertIn(part, done.stderr)


if __name__ == "__main__":
    unittest.main()
