#!/usr/bin/env python3
"""`tokenworks run` in a terminal (a pty): editing, history, pastes, UTF-8, commands, Ctrl-C and Ctrl-D.

usage: run_terminal_test.py PROGRAM
What was sent as a message is told by the history file, which keeps each message and command, and by its answer.
"""

import fcntl
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "tests", "data", "models", "stories260K.gguf")
# The terminal is told to mark pastes when a line begins, and not to when it ends.
BEGIN, END = b"\x1b[?2004h", b"\x1b[?2004l"
UP, DOWN, RIGHT, LEFT, DELETE = b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[3~"
CTRL_C = b"\x03"
SHORT = ["--temperature", "0", "--max-tokens", "4"]
# Goes on until it is stopped: at this temperature the end comes late.
ENDLESS = ["--temperature", "2", "--seed", "1", "--ctx", "20000"]


def paste(text):
    return b"\x1b[200~" + text.encode() + b"\x1b[201~"


class Terminal:
    """A run of the program with a terminal of its own, 80 by 24."""

    def __init__(self, state, arguments, environment=None):
        env = {"PATH": os.environ["PATH"], "HOME": state, "XDG_STATE_HOME": state, "TERM": "xterm", **(environment or {})}
        self.seen, self.at, self.status = b"", 0, None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, [PROGRAM, "run", MODEL, "--threads", "1", *(arguments or [])], env)
        self.resize(80)

    def resize(self, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self, seconds):
        """False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # how Linux says that the other side is closed
            data = b""
        self.seen += data
        return bool(data)

    def expect(self, wanted):
        """What comes until the bytes `wanted`, which are taken too."""
        end = time.monotonic() + 60
        while wanted not in self.seen[self.at:]:
            if not self.read(1) or time.monotonic() > end:
                raise AssertionError(f"no {wanted!r} in {self.seen[self.at:]!r}, after {self.seen[:self.at][-500:]!r}")
        begin, self.at = self.at, self.seen.index(wanted, self.at) + len(wanted)
        return self.seen[begin:self.at - len(wanted)]

    def send(self, keys):
        while keys:
            keys = keys[os.write(self.fd, keys[:1000]):]
            while select.select([self.fd], [], [], 0)[0] and self.read(0):
                pass

    def prompt(self, text=b">"):
        """What comes before the next prompt, which is `text`."""
        shown = self.expect(BEGIN)
        self.expect(text + b"\x1b[0m ")
        return shown

    def enter(self, keys, prompt=b">"):
        """Sends a line; what came after it until the next prompt."""
        self.send(keys + b"\r")
        self.expect(END)
        return self.prompt(prompt)

    def wait(self):
        """The exit status, as a shell has it."""
        end = time.monotonic() + 60
        while self.status is None:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise AssertionError(f"still runs after {self.seen[-500:]!r}")
        return self.status

    def close(self):
        if self.fd < 0:
            return
        if self.status is None and not os.waitpid(self.pid, os.WNOHANG)[0]:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        self.fd = -1


class RunInTerminal(unittest.TestCase):
    def setUp(self):
        self.state = tempfile.TemporaryDirectory()
        self.history_path = os.path.join(self.state.name, "tokenworks", "run_history")

    def tearDown(self):
        self.state.cleanup()

    def start(self, arguments=None, **environment):
        terminal = Terminal(self.state.name, SHORT if arguments is None else arguments, environment)
        self.addCleanup(terminal.close)
        terminal.prompt()
        return terminal

    def history(self):
        with open(self.history_path, encoding="utf-8") as file:
            return file.read().split("\n")[:-1]

    def sends(self, keys, message, **environment):
        """These keys and Enter, in one run, send this message."""
        terminal = self.start(**environment)
        terminal.enter(keys)
        self.assertEqual(self.history()[-1:], [message])
        terminal.close()
        os.remove(self.history_path)

    def test_arrows_edit_and_the_edited_text_is_answered(self):
        arguments = ["--temperature", "0", "--max-tokens", "30"]
        terminal = self.start(arguments)
        shown = terminal.enter(b"nce upno aXtime" + 5 * LEFT + DELETE + b" " + 3 * LEFT + b"\x7f\x7fon" + 2 * RIGHT +
                               b"\x01O")
        self.assertEqual(self.history(), ["Once upon a time"])
        alone = subprocess.run([PROGRAM, "run", MODEL, "Once upon a time", "--threads", "1", *arguments], check=True,
                               stdout=subprocess.PIPE).stdout
        self.assertIn(alone, shown.replace(b"\r\n", b"\n"))
        self.assertGreater(len(alone), 40)

    def test_keys(self):
        self.sends(b"wo\x01hello \x05rld", "hello world")
        self.sends(b"one two three\x17\x17four", "one four")
        self.sends(b"wrong\x15right", "right")
        self.sends(b"xyz" + 2 * LEFT + b"\x15", "yz")
        self.sends(b"one two" + 3 * LEFT + b"\x0b\x01\x19 ", "two one ")
        self.sends(b"bc\x1b[Ha\x1b[Fd", "abcd")
        self.sends(b"two one" + b"\x1b[1;5D" + b"x", "two xone")

    def test_utf8_whatever_the_locale(self):
        for environment in ({}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}):
            self.sends("grüße 日本 😀é".encode() + 3 * LEFT + b"\x7f" + "語".encode(), "grüße 日語 😀é", **environment)
        self.sends(b"a\xff\xc3b", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b")

    def test_history_in_a_run_and_across_runs(self):
        first = self.start()
        for message in (b"first", b"second", b"second", b"/stats"):
            first.enter(message)
        first.enter(UP + UP + b" again")
        first.enter(b"new" + UP + DOWN + b"er")
        first.send(b"\x04")
        self.assertEqual(first.wait(), 0)
        self.assertEqual(self.history(), ["first", "second", "/stats", "second again", "newer"])
        self.assertEqual(stat.S_IMODE(os.stat(self.history_path).st_mode), 0o600)
        second = self.start()
        second.enter(5 * UP + b"!")
        second.enter(b"\x12sec")  # Ctrl-R finds it, Enter sends it
        self.assertEqual(self.history()[-2:], ["first!", "second again"])

    def test_no_history(self):
        terminal = self.start([*SHORT, "--no-history"])
        terminal.enter(b"secret")
        terminal.enter(UP + b"!")
        self.assertFalse(os.path.exists(self.history_path))

    def test_a_history_that_cannot_be_written_is_said(self):
        os.makedirs(self.history_path)
        terminal = self.start()
        self.assertIn(b"not kept", terminal.seen)
        terminal.enter(b"hello")

    def test_ctrl_c_at_the_prompt(self):
        terminal = self.start()
        terminal.send(b"junk")
        terminal.expect(b"junk")
        terminal.send(CTRL_C)
        terminal.prompt()
        terminal.enter(b"kept")
        self.assertEqual(self.history(), ["kept"])
        terminal.send(CTRL_C)
        self.assertIn(b"again", terminal.prompt())
        terminal.send(CTRL_C)
        self.assertEqual(terminal.wait(), 0)

    def test_ctrl_c_in_a_text_of_many_lines(self):
        terminal = self.start()
        terminal.enter(b'"""one', b"...")
        terminal.send(CTRL_C)
        terminal.prompt()
        terminal.enter(b"two")
        self.assertEqual(self.history(), ["two"])

    def test_ctrl_c_stops_an_answer(self):
        terminal = self.start(ENDLESS)
        terminal.send(b"Once\r")
        terminal.expect(END)
        while len(terminal.seen) - terminal.at < 100:
            self.assertTrue(terminal.read(60))
        terminal.send(CTRL_C)
        terminal.prompt()
        stats = terminal.enter(b"/stats")
        generated = int(re.search(rb"answer (\d+) tokens", stats).group(1))
        self.assertGreater(generated, 10)
        self.assertLess(generated, 19000)
        terminal.send(b"Twice\r")
        terminal.expect(END)
        terminal.send(CTRL_C)
        terminal.prompt()
        terminal.send(CTRL_C)
        self.assertEqual(terminal.wait(), 0)

    def test_ctrl_d(self):
        terminal = self.start()
        terminal.send(b"ab" + LEFT + b"\x04\x01\x04")  # deletes, then leaves the empty line
        terminal.expect(b"ab")
        time.sleep(0.2)
        terminal.send(b"\x04")
        self.assertEqual(terminal.wait(), 0)
        self.assertEqual(self.history(), [])

    def test_lines(self):
        terminal = self.start()
        terminal.enter(b"one\\", b"...")
        terminal.enter(b"two\x1b\rthree")
        terminal.enter(b'"""', b"...")
        terminal.enter(b"four\\", b"...")
        terminal.enter(b'"""')
        self.assertEqual(self.history(), ["one\\ntwo\\nthree", '"""\\nfour\\\\\\n"""'])
        before = len(self.history())
        terminal.enter(b"   ")
        self.assertEqual(len(self.history()), before)

    def test_a_paste_is_one_message(self):
        terminal = self.start()
        terminal.enter(paste("one\r\ttwo\r\nthree\x07\r\r") + LEFT + b"E")
        self.assertEqual(self.history(), ["one\\n\ttwo\\nthreEe"])

    def test_a_long_paste_survives_up_and_down(self):
        text = "\r".join(f"line {i} " + "x" * 50 for i in range(2000))
        terminal = self.start()
        terminal.enter(b"before")
        shown = terminal.enter(paste(text) + UP + DOWN + b"!")
        self.assertIn(b"context", shown)  # an error, and the chat goes on
        self.assertEqual(self.history(), ["before", text.replace("\r", "\\n") + "!"])
        terminal.enter(UP + b"!")
        self.assertEqual(self.history()[-1], text.replace("\r", "\\n") + "!!")

    def test_commands(self):
        terminal = self.start()
        self.assertIn(b"no answer yet", terminal.enter(b"/stats"))
        shown = terminal.enter(b"/help")
        for word in (b"/system TEXT", b"/clear", b"/stats", b"/help", b"/exit", b"Ctrl-C", b'"""'):
            self.assertIn(word, shown)
        self.assertIn(b"system message set", terminal.enter(b"/system You are brief."))
        self.assertIn(b"no system message", terminal.enter(b"/system"))
        self.assertIn(b"forgotten", terminal.enter(b"/clear"))
        self.assertIn(b"unknown command /nothing", terminal.enter(b"/nothing"))
        self.assertNotIn(b"unknown", terminal.enter(b"/etc/hosts is a file"))
        self.assertIn(b"cut off after 4 tokens", terminal.enter(b"Once"))
        self.assertIn(b"answer 4 tokens", terminal.enter(b"/stats"))
        terminal.send(b"/exit\r")
        self.assertEqual(terminal.wait(), 0)

    def test_tab_completes_commands(self):
        terminal = self.start()
        self.assertIn(b"forgotten", terminal.enter(b"/cl\t"))
        self.assertIn(b"system message set", terminal.enter(b"/sy\tbrief"))
        terminal.send(b"/s\t")
        terminal.expect(b"/system")
        terminal.expect(b"/stats")
        self.assertIn(b"no answer yet", terminal.enter(b"ta\t"))
        self.assertEqual(self.history(), ["/clear", "/system brief", "/stats"])

    def test_vi_keys_for_those_who_ask(self):
        with open(os.path.join(self.state.name, ".editrc"), "w", encoding="utf-8") as file:
            file.write("bind -v\n")
        # Without the terminal's marks of pastes, a prompt cannot be told from the same prompt drawn again.
        terminal = Terminal(self.state.name, SHORT)
        self.addCleanup(terminal.close)
        for keys, message in ((b"one two", "one two"), (b"x\x1bk0cwthree\x1bA!", "three two!")):
            terminal.expect(b">\x1b[0m ")
            terminal.send(keys + b"\r")
            terminal.expect(b"(cut off")
            self.assertEqual(self.history()[-1], message)

    def test_signals_and_another_size(self):
        terminal = self.start()
        terminal.send(b"hel")
        terminal.expect(b"hel")
        terminal.resize(60)
        terminal.expect(b"hel")
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.expect(b"hel")
        terminal.enter(b"lo")
        self.assertEqual(self.history(), ["hello"])
        self.assertFalse(termios.tcgetattr(terminal.fd)[3] & termios.ICANON)
        os.kill(terminal.pid, signal.SIGTERM)
        self.assertEqual(terminal.wait(), 128 + signal.SIGTERM)
        self.assertTrue(termios.tcgetattr(terminal.fd)[3] & termios.ICANON)
        self.assertTrue(termios.tcgetattr(terminal.fd)[3] & termios.ECHO)
        self.assertTrue(terminal.seen.rstrip().endswith(END), terminal.seen[-100:])

    def test_a_dumb_terminal_gets_no_escapes(self):
        terminal = Terminal(self.state.name, SHORT, {"TERM": "dumb"})
        self.addCleanup(terminal.close)
        terminal.expect(b"> ")
        terminal.send(b"worl\x7fld\r")
        terminal.expect(b"\n")
        terminal.expect(b"> ")
        self.assertEqual(self.history(), ["world"])
        self.assertNotIn(b"\x1b", terminal.seen)

    def test_without_a_terminal_nothing_changes(self):
        done = subprocess.run([PROGRAM, "run", MODEL, "--threads", "1", *SHORT], input=b"Once upon\n\x1b[D a",
                              capture_output=True, env={"HOME": self.state.name, "XDG_STATE_HOME": self.state.name})
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr, b"")
        self.assertTrue(done.stdout.endswith(b"\n"))
        self.assertNotIn(b"\x1b", done.stdout)
        self.assertFalse(os.path.exists(self.history_path))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
