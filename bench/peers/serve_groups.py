"""What bench/peers/serve measures, and what it runs for each model, in order."""

import dataclasses

import measures_engine
import measures_server
import measures_speculation


@dataclasses.dataclass
class Measure:
    unit: str
    threads: tuple = (2,)
    better: str = "higher"


MEASURES = {
    "prefill": Measure("tokens/s", (1, 2)),
    "prefill_peak": Measure("GFLOP/s", (1, 2)),
    "prefill_int8": Measure("tokens/s", (1, 2)),
    "prefill_int8_perplexity": Measure("perplexity", better="lower"),
    "decode": Measure("tokens/s", (1, 2)),
    "decode_bandwidth": Measure("GB/s", (1, 2)),
    "batch_16": Measure("tokens/s"),
    "batch_16_bandwidth": Measure("GB/s"),
    "busy_1": Measure("tokens/s"),
    "busy_16": Measure("tokens/s"),
    "http_16": Measure("tokens/s"),
    "http_16_itl_p99": Measure("ms", better="lower"),
    "http_16_memory": Measure("MiB", better="lower"),
    "itl_4k_prefill": Measure("ms", better="lower"),
    "speculation_copy": Measure("tokens/s"),
    "speculation_other": Measure("tokens/s"),
    "first_token": Measure("s", better="lower"),
}

# (function, the measures it yields). batch finds the options that the servers then use.
GROUPS = [
    (measures_engine.prefill, ("prefill", "prefill_peak", "prefill_int8")),
    (measures_engine.int8_perplexity, ("prefill_int8_perplexity",)),
    (measures_engine.decode, ("decode", "decode_bandwidth")),
    (measures_engine.batch, ("batch_16", "batch_16_bandwidth")),
    (measures_engine.busy, ("busy_1", "busy_16")),
    (measures_server.http, ("http_16", "http_16_itl_p99", "http_16_memory")),
    (measures_server.itl, ("itl_4k_prefill",)),
    (measures_speculation.speculation, ("speculation_copy", "speculation_other")),
    (measures_server.first_token, ("first_token",)),
]

OPENVINO_KINDS = ("prefill", "decode", "batch_16")  # it has no server
