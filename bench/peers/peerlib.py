"""What the programs of bench/peers share: running commands, interleaved measuring, the table and the JSON lines.

Everything is made under build/peers/ and nothing of the peers is kept in the repository.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.join(ROOT, "build", "peers")


class Failed(Exception):
    """A peer or our program could not be built, fetched or run; the text is for the report."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, timeout=3600, cwd=ROOT, env=None, end_of=None):
    """Standard output of a command; Failed, with the end of its messages, when it fails."""
    environment = {**os.environ, **env} if env else None
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{os.path.basename(command[0])}: {error}") from error
    if done.returncode != 0:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Failed(f"{end_of or os.path.basename(command[0])} ended with status {done.returncode}: {tail[-600:]}")
    return done.stdout


def last_json(out, program):
    """The JSON document in the last line of an output."""
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failed(f"{program}: its last line is not JSON: {out[-200:]!r}") from error


def median(samples):
    """Of numbers, or key by key of dicts of numbers."""
    if isinstance(samples[0], dict):
        return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
    return statistics.median(samples)


@dataclasses.dataclass
class Outcome:
    """Medians by contender; one that failed has its error text instead."""
    values: dict
    rival: str    # the best rival, or the first when none ran
    rivals: list
    rounds: int

    def best(self):
        """The best rival's median, or the text of what went wrong with them all."""
        if not isinstance(self.values[self.rival], str):
            return self.values[self.rival]
        return "; ".join(dict.fromkeys(self.values[name] for name in self.rivals))


def interleave(contenders, rivals, rounds, seconds, rank=float):
    """Runs A B C A B C ...: what disturbs the machine for a while thus disturbs all alike.

    contenders, rivals: {name: function that measures once}. All rivals run in the first round, and the one of the
    highest rank in the others (a peer runs at its best options). No round begins that would go past `seconds`.
    """
    samples, errors, alive = {}, {}, {**contenders, **rivals}
    begin, rival, done = time.monotonic(), next(iter(rivals), None), 0
    while done < rounds:
        start = time.monotonic()
        for name, measure in alive.items():
            if name in errors:
                continue
            try:
                samples.setdefault(name, []).append(measure())
            except Failed as error:
                errors[name] = str(error)
        done += 1
        if done == 1:
            ran = [name for name in rivals if name not in errors]
            rival = max(ran, key=lambda name: rank(samples[name][0])) if ran else rival
            alive = {**contenders, **({rival: rivals[rival]} if ran else {})}
        now = time.monotonic()
        if now - begin + (now - start) > seconds:
            break
    values = {name: errors.get(name) or median(samples[name]) for name in [*contenders, *rivals]}
    return Outcome(values, rival, list(rivals), done)


@dataclasses.dataclass
class Target:
    """One line of the report. met says whether `ratio` reaches `target` (lower is better: stays within it)."""
    measure: str
    model: str
    threads: int
    unit: str
    target: float
    better: str = "higher"
    peer: str = ""
    peer_version: str = ""
    ours: float = None
    peer_value: float = None
    reference: float = None
    ratio: float = None
    met: bool = False
    error: str = ""

    def settle(self, ours, reference, peer_value=None):
        """Fills in the outcome. Each may be an error text instead of a number; peer_value may be None: the peer is
        not what ours is compared with."""
        numbers = {"ours": ours, "reference": reference, "peer_value": peer_value}
        problems = [value for value in (ours, reference) if isinstance(value, str)]
        for name, value in numbers.items():
            setattr(self, name, None if isinstance(value, str) else value)
        if problems:
            self.error = "; ".join(dict.fromkeys(problems))
        elif not self.reference:
            self.error = self.error or "the reference is not known"
        else:
            self.ratio = self.ours / self.reference
            self.met = self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target
        return self

    def line(self):
        fields = ["measure", "model", "threads", "unit", "ours", "peer", "peer_value", "peer_version", "better",
                  "reference", "ratio", "target", "met"]
        out = {field: getattr(self, field) for field in fields}
        if self.error:
            out["error"] = self.error
        return json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in out.items()})


def figure(value):
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def report(targets, as_json):
    """targets: an iterable that measures as it goes."""
    row = "{:<24} {:<22} {:>3} {:>9} {:>9} {:>9} {:>7} {:>9} {:<4} {}"
    if not as_json:
        print(row.format("measure", "model", "thr", "ours", "peer", "reference", "ratio", "target", "met", "unit; peer"))
    for t in targets:
        if as_json:
            print(t.line(), flush=True)
            continue
        ratio = "-" if t.ratio is None else f"{t.ratio:.3f}"
        wanted = f"{'>=' if t.better == 'higher' else '<='} {t.target}"
        print(row.format(t.measure, t.model, t.threads, figure(t.ours), figure(t.peer_value), figure(t.reference), ratio,
                         wanted, "yes" if t.met else "NO", f"{t.unit}; {t.peer}".rstrip("; ")), flush=True)
        if t.error:
            print(f"    {t.error}", flush=True)


def warn_if_busy():
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"warning: the machine is busy (load {load:.1f}); figures will be low and uneven")
