"""Turns the one JSON document of a Google Benchmark program into a line per benchmark: json_lines.py NAME < json"""

import json
import sys

RATES = {"bytes_per_second": "bytes/s", "items_per_second": "items/s"}
# What Google Benchmark says of every run; all else are counters of the program's own, and are passed on.
STANDARD = {*RATES, "name", "run_name", "run_type", "family_index", "per_family_instance_index", "repetitions",
            "repetition_index", "threads", "iterations", "real_time", "cpu_time", "time_unit", "label"}


def line(bench, entry):
    """A rate that the benchmark reports is its value; else the time of one iteration."""
    for key, unit in RATES.items():
        if key in entry:
            value = entry[key]
            break
    else:
        value, unit = entry["real_time"], entry["time_unit"]
    counters = {key: counter for key, counter in entry.items() if key not in STANDARD}
    return {"bench": bench, "name": entry["name"], "value": value, "unit": unit, "iterations": entry["iterations"],
            **counters}


for benchmark in json.load(sys.stdin)["benchmarks"]:
    if "error_message" in benchmark:
        print(json.dumps({"bench": sys.argv[1], "name": benchmark["name"], "value": None,
                          "error": benchmark["error_message"]}))
    else:
        print(json.dumps(line(sys.argv[1], benchmark)))
