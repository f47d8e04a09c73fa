"""A client that streams many completions at once from an OpenAI-like server on this machine and times every event.

It takes next to no processor time, so that the server has the cores: while answers run it only notes when bytes came;
what they say is read afterwards.
"""

import bisect
import dataclasses
import itertools
import json
import selectors
import socket
import time

from peerlib import Failed


@dataclasses.dataclass
class Answer:
    sent: float     # monotonic seconds
    times: list     # when each event with text came
    tokens: int     # as the server counts them; None when it was cut off
    text: str

    def gaps(self, begin=0.0, end=float("inf")):
        """Seconds between successive events, of those that ended within [begin, end]."""
        return [b - a for a, b in zip(self.times, self.times[1:]) if begin <= b <= end]


class Stream:
    """One request on a connection of its own."""

    def __init__(self, port, path, body):
        data = json.dumps({"stream": True, "stream_options": {"include_usage": True}, **body}).encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = time.monotonic()
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                            f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        self.socket.setblocking(False)
        self.received = []  # (time, bytes)
        self.seen = b""     # the end of what came, to find the end of the answer
        self.started = False  # an event has come

    def read(self):
        """False when the answer has ended."""
        data = self.socket.recv(1 << 16)
        now = time.monotonic()
        if data:
            self.received.append((now, data))
        tail = self.seen + data
        self.started = self.started or b"data: " in tail
        self.seen = tail[-32:]
        return bool(data) and b"data: [DONE]" not in tail

    def answer(self):
        """What came so far."""
        times, texts, tokens = [], [], None
        for at, event in events(self.received):
            if "error" in event:
                raise Failed(f"the server answered {json.dumps(event['error'])[:300]}")
            usage, timings = event.get("usage") or {}, event.get("timings") or {}
            tokens = usage.get("completion_tokens", timings.get("predicted_n", tokens))
            for choice in event.get("choices", []):
                text = choice.get("text") or (choice.get("delta") or {}).get("content")
                if text:
                    times.append(at)
                    texts.append(text)
        return Answer(self.sent, times, tokens, "".join(texts))

    def close(self):
        self.socket.close()


def body_pieces(received):
    """(time, bytes) of the body: the head removed, and the framing of chunked encoding. A byte's time is that of the
    read that brought it."""
    data = b"".join(piece for _, piece in received)
    ends = list(itertools.accumulate(len(piece) for _, piece in received))
    head, found, _ = data.partition(b"\r\n\r\n")
    if not found or head.split(b" ")[1:2] != [b"200"]:
        raise Failed(f"the server answered {data[:300]!r}")
    at = len(head) + 4
    if b"transfer-encoding: chunked" not in head.lower():
        for (when, _), end in zip(received, ends):
            if end > at:
                yield when, data[at:end]
                at = end
        return
    while True:
        line = data.find(b"\r\n", at)
        size = int(data[at:line].split(b";")[0] or b"0", 16) if line >= 0 else 0
        begin = line + 2
        if size == 0 or begin + size > len(data):
            return
        yield received[bisect.bisect_left(ends, begin + size)][0], data[begin:begin + size]
        at = begin + size + 2


def events(received):
    """(time, JSON document) of each server-sent event."""
    rest = b""
    for at, piece in body_pieces(received):
        rest += piece
        while b"\n" in rest:
            line, rest = rest.split(b"\n", 1)
            line = line.strip()
            if line.startswith(b"data:") and line != b"data: [DONE]":
                yield at, json.loads(line[5:])


def pump(streams, until, timeout):
    """Reads from the streams until all have ended or until() is true; Failed after `timeout` seconds."""
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.socket, selectors.EVENT_READ, stream)
        while selector.get_map() and not until():
            if time.monotonic() > end:
                raise Failed(f"no end after {timeout} seconds")
            for key, _ in selector.select(0.2):
                if not key.data.read():
                    selector.unregister(key.fileobj)


def complete(port, path, bodies, timeout=600):
    """The answers to all bodies, asked at once."""
    streams = [Stream(port, path, body) for body in bodies]
    try:
        pump(streams, lambda: False, timeout)
        return [stream.answer() for stream in streams]
    finally:
        for stream in streams:
            stream.close()


def quantile(values, q):
    """The smallest value that at least a share q of them do not exceed."""
    if not values:
        raise Failed("there is no gap between tokens to measure")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(-(-q * len(ordered) // 1)) - 1))]
