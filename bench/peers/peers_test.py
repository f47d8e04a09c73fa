"""Tests of what bench/peers computes: run by ctest as bench.peers, or by hand: python3 bench/peers/peers_test.py"""

import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import load_client
import lora
import models
import peerlib
import serve_groups
from peerlib import Failed, Target, interleave


def sse(*documents):
    return [b"data: " + (d if isinstance(d, bytes) else json.dumps(d).encode()) + b"\n\n" for d in documents]


def text(value):
    return {"choices": [{"text": value}]}


def chunked(pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Events(unittest.TestCase):
    def read(self, data, sizes):
        """Events of the data when it comes in reads of these sizes, one a second."""
        received, at = [], 0
        for second, size in enumerate(sizes):
            received.append((second, data[at:at + size]))
            at += size
        received.append((len(sizes), data[at:]))
        return list(load_client.events(received))

    def test_time_is_that_of_the_read_that_ends_the_event(self):
        pieces = sse(text("a"), text("b"), b"[DONE]")
        data = HEAD + chunked(pieces)
        first = len(HEAD) + len(chunked(pieces[:1])) - 5  # all of the first chunk, with its line end
        self.assertEqual([(0, text("a")), (1, text("b"))], self.read(data, [first, len(data) - first]))
        # The chunk's last byte but its line end is missing: the event comes with the next read.
        self.assertEqual([(1, text("a")), (1, text("b"))], self.read(data, [first - 3, len(data)]))

    def test_any_cut_gives_the_same_documents(self):
        data = HEAD + chunked(sse(text("x" * 40), text("\u00e9"), {"usage": {"completion_tokens": 2}, "choices": []}))
        whole = [event for _, event in self.read(data, [])]
        for size in (1, 2, 3, 7, 50):
            self.assertEqual(whole, [event for _, event in self.read(data, [size] * (len(data) // size))])

    def test_an_event_may_span_chunks_and_a_chunk_hold_two(self):
        a, b = sse(text("a"), text("b"))
        self.assertEqual([text("a"), text("b")], [e for _, e in self.read(HEAD + chunked([a[:5], a[5:] + b]), [])])

    def test_a_body_without_chunks(self):
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        data = head + b"".join(sse(text("a"), text("b")))
        got = self.read(data, [len(head) + 5, 20])
        self.assertEqual([text("a"), text("b")], [e for _, e in got])

    def test_an_error_status_fails_with_its_text(self):
        with self.assertRaisesRegex(Failed, "503"):
            self.read(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", [])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokens = body["max_tokens"]
        pieces = sse(*[text("t")] * tokens, {"choices": [], "usage": {"completion_tokens": tokens}}, b"[DONE]")
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(chunked(pieces))

    def log_message(self, *_):
        pass


class Client(unittest.TestCase):
    def test_many_answers_at_once(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            answers = load_client.complete(server.server_port, "/", [{"max_tokens": n} for n in (1, 2, 30)])
        finally:
            server.shutdown()
            server.server_close()
        self.assertEqual([1, 2, 30], [answer.tokens for answer in answers])
        self.assertEqual([1, 2, 30], [len(answer.times) for answer in answers])
        self.assertEqual("tt", answers[1].text)

    def test_gaps_are_those_that_end_within_the_time(self):
        answer = load_client.Answer(0, [1, 2, 4, 7], 4, "")
        self.assertEqual([1, 2, 3], answer.gaps())
        self.assertEqual([2], answer.gaps(3, 5))

    def test_quantile(self):
        self.assertEqual(99, load_client.quantile(range(1, 101), 0.99))
        self.assertEqual(50, load_client.quantile(range(1, 101), 0.5))
        self.assertEqual(3, load_client.quantile([3, 1, 2], 0.99))
        self.assertRaises(Failed, load_client.quantile, [], 0.5)


class Interleave(unittest.TestCase):
    def test_all_rivals_run_once_and_the_best_goes_on(self):
        ran = []

        def measure(name, *values):
            values = iter(values)
            return lambda: (ran.append(name), next(values))[1]

        outcome = interleave({"ours": measure("ours", 1, 9, 3)},
                             {"slow": measure("slow", 1), "fast": measure("fast", 5, 7, 6)}, 3, 1000)
        self.assertEqual(["ours", "slow", "fast", "ours", "fast", "ours", "fast"], ran)
        self.assertEqual(("fast", 6, 3), (outcome.rival, outcome.best(), outcome.values["ours"]))

    def test_no_round_begins_past_the_time(self):
        self.assertEqual(1, interleave({"ours": lambda: 1}, {}, 5, -1).rounds)

    def test_a_failure_is_its_text_and_the_others_go_on(self):
        def broken():
            raise Failed("broken")
        outcome = interleave({"ours": lambda: {"rate": 2}}, {"a": broken, "b": lambda: {"rate": 4}}, 2, 1000,
                             rank=lambda value: value["rate"])
        self.assertEqual({"rate": 4}, outcome.best())
        self.assertEqual("broken", interleave({"ours": broken}, {"a": broken}, 2, 1000).best())


class Targets(unittest.TestCase):
    def target(self, better="higher", goal=3.0):
        return Target("m", "model", 2, "tokens/s", goal, better)

    def test_met(self):
        self.assertTrue(self.target().settle(30.0, 10.0, 10.0).met)
        self.assertFalse(self.target().settle(29.0, 10.0, 10.0).met)
        self.assertTrue(self.target("lower", 1.0).settle(10.0, 10.0).met)
        self.assertFalse(self.target("lower", 1.0).settle(10.1, 10.0).met)

    def test_what_could_not_run(self):
        line = json.loads(self.target().settle("no program", 10.0, 10.0).line())
        self.assertEqual((None, False, "no program", 10.0), tuple(line[k] for k in ("ours", "met", "error", "reference")))
        line = json.loads(self.target().settle(10.0, "no peer", "no peer").line())
        self.assertEqual((10.0, None, None, False, "no peer"),
                         tuple(line[k] for k in ("ours", "reference", "ratio", "met", "error")))

    def test_a_line_has_all_fields(self):
        self.assertEqual(["measure", "model", "threads", "unit", "ours", "peer", "peer_value", "peer_version", "better",
                          "reference", "ratio", "target", "met"], list(json.loads(self.target().settle(4.0, 1.0).line())))

    def test_every_goal_is_measured_by_one_group(self):
        measured = [name for _, names in serve_groups.GROUPS for name in names]
        self.assertEqual(list(serve_groups.MEASURES), measured)
        for model in models.MODELS:
            self.assertLessEqual(set(model.goals), set(measured), model.name)
            self.assertLessEqual({m for m in measured if "_peak" not in m and "_bandwidth" not in m}, set(model.goals))


class Lora(unittest.TestCase):
    def test_both_sides_must_compute_the_same_and_learn(self):
        def losses(first, last):
            return {"first_loss": first, "last_loss": last}
        self.assertEqual("", lora.losses_differ(losses(3.0, 2.5), losses(3.02, 2.6)))
        self.assertIn("first_loss is 3.1000", lora.losses_differ(losses(3.1, 2.5), losses(3.0, 2.5)))
        self.assertIn("last_loss is 2.8000", lora.losses_differ(losses(3.0, 2.8), losses(3.0, 2.5)))
        self.assertIn("ours does not learn", lora.losses_differ(losses(3.0, 3.0), losses(3.0, 2.95)))
        self.assertIn("the peer does not learn", lora.losses_differ(losses(3.0, 2.95), losses(3.0, 3.0)))

    def test_a_step_is_whole_documents(self):
        self.assertEqual(0, lora.TOKENS % lora.CONTEXT)


if __name__ == "__main__":
    unittest.main()
