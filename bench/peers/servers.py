"""Starting and stopping a server on this machine, ours or a peer's."""

import os
import signal
import socket
import subprocess
import time

import load_client
from peerlib import PEERS, Failed


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """with Server(lambda port: command) as server: ...; it answers requests once the block is entered."""

    def __init__(self, command_for, wait=True):
        self.port = free_port()
        self.command = command_for(self.port)
        self.wait = wait
        self.log = os.path.join(PEERS, f"server-{self.port}.log")

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.started = time.monotonic()
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            if self.wait:
                self.first_answer({"prompt": [5, 6, 7, 8], "max_tokens": 2, "ignore_eos": True}, 120)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.remove(self.log)

    def fail(self, what):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            tail = " | ".join(log.read().strip().splitlines()[-3:])
        raise Failed(f"{os.path.basename(self.command[0])} {what}: {tail[-400:]}")

    def first_answer(self, body, timeout):
        """Asks again and again until the server is there and streams; seconds from its start to the first text."""
        body = {"temperature": 0, **body}
        while time.monotonic() - self.started < timeout:
            if self.process.poll() is not None:
                self.fail(f"ended with status {self.process.returncode}")
            try:
                answer = load_client.complete(self.port, "/v1/completions", [body], timeout)[0]
                if answer.times:
                    return answer.times[0] - self.started
                return time.monotonic() - self.started
            except ConnectionError:
                time.sleep(0.002)
            except Failed as error:
                if "503" not in str(error):
                    raise
                time.sleep(0.005)
        self.fail(f"does not answer after {timeout} seconds")

    def peak_memory(self):
        """VmHWM in MiB: the most that was resident at once."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        raise Failed("no VmHWM in /proc")
