#!/usr/bin/env python3
"""The life of a server as its operator sees it: draining, its end, its log, its names.

serve_test.py PROGRAM [unittest arguments]
"""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(1)
STORIES = Path(__file__).parent / "data/models/stories260K.gguf"


class Server:
    """A server of stories260K. The reference kernels make its answers take seconds."""

    def __init__(self, *flags, model=STORIES):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([PROGRAM, "serve", "--port", "0", "--isa", "ref", *flags, model],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.port = 0
        while self.port == 0:
            if self.process.poll() is not None:
                raise RuntimeError(self.text())
            time.sleep(0.02)
            for line in self.text().splitlines():
                if "is ready at http://127.0.0.1:" in line:
                    self.port = int(line.split("127.0.0.1:")[1].strip('"}'))

    def text(self):
        self.log.seek(0)
        return self.log.read().decode()

    def send(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, json.dumps(body) if body else None)
        return connection, connection.getresponse()

    def ask(self, method, path, body=None):
        """The whole answer; its status and headers stay readable."""
        connection, response = self.send(method, path, body)
        response.read()
        connection.close()
        return response

    def long_answer(self, sequences=48, tokens=400):
        """A stream that takes a while, after its first event; close() it."""
        connection, stream = self.send("POST", "/v1/completions", {
            "prompt": "Once", "max_tokens": tokens, "n": sequences, "ignore_eos": True, "stream": True})
        assert stream.status == 200, stream.status
        assert stream.readline().startswith(b"data: {")
        return connection, stream

    def stop(self):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Life(unittest.TestCase):
    def serve(self, *flags):
        server = Server(*flags)
        self.addCleanup(server.kill)
        return server

    def test_an_idle_server_ends_at_once(self):
        self.assertEqual(self.serve().stop(), 0)

    def test_it_answers_while_it_fetches_the_model(self):
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            pip = Path(folder) / "python3"  # what runs pip: here it takes for ever
            pip.write_text("#!/bin/sh\necho $$ > \"$0.pid\"\nexec sleep 600\n")
            pip.chmod(0o755)
            taken.close()
            server = subprocess.Popen(
                [PROGRAM, "serve", "--port", str(port)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "TOKENWORKS_HOME": folder, "PATH": f"{folder}:{os.environ['PATH']}"})
            self.addCleanup(server.kill)
            deadline = time.monotonic() + 30
            started = Path(f"{pip}.pid")
            while not (started.exists() and started.read_text().endswith("\n")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            for path, status in (("live", 200), ("ready", 503)):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", f"/v1/health/{path}")
                self.assertEqual(connection.getresponse().status, status)
                connection.close()
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(timeout=30), 0)
            fetcher = int(started.read_text())
            with self.assertRaises(ProcessLookupError):
                os.kill(fetcher, 0)

    def test_the_guide_names_every_metric_and_no_other(self):
        server = self.serve()
        server.ask("GET", "/metrics")  # what counts requests is there from the first one on
        connection, response = server.send("GET", "/metrics")
        told = {line.split()[2] for line in response.read().decode().splitlines() if line.startswith("# TYPE ")}
        connection.close()
        guide = (Path(__file__).parent.parent / "docs/guides/serve.md").read_text()
        table = guide.split("## Metrics")[1].split("##")[0]
        rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
        named = set(re.findall(r"`([a-z0-9_:]+)`", " ".join(rows)))
        self.assertEqual({name for name in told if not name.startswith("process_")},
                         {name for name in named if not name.startswith("process_")})

    def test_draining_refuses_new_requests_and_finishes_the_running_ones(self):
        server = self.serve("--drain-seconds", "240")  # a sanitizer makes it slow
        connection, running = server.long_answer(16, 150)
        self.addCleanup(connection.close)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while server.ask("GET", "/v1/health/ready").status != 503:
            self.assertLess(time.monotonic(), deadline)
        late = server.ask("POST", "/v1/completions", {"prompt": "Once"})
        self.assertEqual(late.status, 503)
        self.assertIsNotNone(late.getheader("Retry-After"))
        self.assertEqual(late.getheader("Connection"), "close")
        self.assertEqual(server.ask("GET", "/v1/health/live").status, 200)
        self.assertTrue(running.read().endswith(b"data: [DONE]\n\n"))
        self.assertEqual(server.process.wait(timeout=60), 0)

    def test_answers_that_take_too_long_end_with_an_error(self):
        server = self.serve("--drain-seconds", "0")
        connection, running = server.long_answer()
        self.addCleanup(connection.close)
        self.assertEqual(server.stop(), 0)
        rest = running.read()
        self.assertIn(b'data: {"error":', rest)
        self.assertNotIn(b"[DONE]", rest)

    def test_adapters_come_and_go_beside_running_answers(self):
        golden = Path(__file__).parent / "golden"
        server = Server("--lora", f"all={golden}/lora/llama3", "--lora-updates", model=golden / "families/llama3")
        self.addCleanup(server.kill)

        def answer(model):
            connection, response = server.send("POST", "/v1/completions", {
                "model": model, "prompt": [5, 6, 7, 8], "max_tokens": 30, "temperature": 0, "ignore_eos": True})
            body = json.loads(response.read())
            connection.close()
            return body["choices"][0]["text"] if response.status == 200 else response.status

        plain, adapted = answer(""), answer("all")
        self.assertNotEqual(plain, adapted)
        self.assertEqual(answer("gates"), 404)
        body = {"lora_name": "gates", "lora_path": f"{golden}/lora/llama3-gates"}
        self.assertEqual(server.ask("POST", "/v1/load_lora_adapter", body).status, 200)
        self.assertEqual([answer("all"), answer("")], [adapted, plain])
        self.assertNotIn(answer("gates"), [plain, adapted, 404])
        connection, running = server.send("POST", "/v1/completions", {
            "model": "gates", "prompt": [5, 6], "max_tokens": 50, "n": 8, "ignore_eos": True, "stream": True})
        self.addCleanup(connection.close)
        running.readline()
        self.assertEqual(server.ask("POST", "/v1/unload_lora_adapter", {"lora_name": "gates"}).status, 200)
        self.assertTrue(running.read().endswith(b"data: [DONE]\n\n"))
        self.assertEqual(answer("gates"), 404)
        self.assertEqual(server.stop(), 0)

    def test_an_adapter_that_does_not_fit_ends_the_start(self):
        with self.assertRaises(RuntimeError) as error:
            Server("--lora", f"a={Path(__file__).parent}/golden/lora/qwen3")
        self.assertIn("--lora a:", str(error.exception))

    def test_names_are_checked_against_rebinding(self):
        server = self.serve("--allow-host", "box.example", "--allow-host", "other.example")
        for host, status in ((f"localhost:{server.port}", 200), ("box.example", 200), ("other.example:1", 200),
                             ("evil.example", 403)):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("GET", "/v1/models", headers={"Host": host})
            response = connection.getresponse()
            body = response.read().decode()
            connection.close()
            self.assertEqual(response.status, status, host)
        self.assertIn("--allow-host evil.example", json.loads(body)["error"]["message"])

    def test_a_json_log_has_nothing_else(self):
        server = self.serve("--log-format", "json")
        server.ask("GET", "/no/such?key=secret")
        self.assertEqual(server.stop(), 0)
        events = [json.loads(line) for line in server.text().splitlines()]
        request = next(e for e in events if e.get("path") == "/no/such")
        self.assertEqual((request["method"], request["status"], request["level"]), ("GET", 404, "info"))
        self.assertGreater(request["milliseconds"], 0)
        self.assertNotIn("secret", server.text())


if __name__ == "__main__":
    unittest.main()
