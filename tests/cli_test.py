#!/usr/bin/env python3
"""What the program says to people: one clear line for a mistake, a progress bar that fits the terminal.

cli_test.py PROGRAM [unittest arguments]
"""
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROGRAM = sys.argv.pop(1)
STORIES = Path(__file__).parent / "data/models/stories260K.gguf"


def run(*arguments, timeout=60, **more):
    return subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False, **more)


class Mistakes(unittest.TestCase):
    def complaint(self, status, *arguments):
        done = run(*arguments)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Atokenworks: [^\n]+\n\Z")
        return done.stderr

    def test_wrong_usage_is_named(self):
        self.assertIn("'frobnicate'", self.complaint(2, "frobnicate"))
        self.assertIn("see tokenworks serve --help", self.complaint(2, "serve", "--bogus"))
        self.assertIn("abc", self.complaint(2, "serve", "--port", "abc"))
        self.assertIn("name", self.complaint(2, "rm"))

    def test_the_key_itself_is_no_flag(self):
        for flag in (["--api-key", "secret"], ["--api-key=secret"]):
            said = self.complaint(2, "serve", STORIES, *flag)
            self.assertIn("--api-key-file", said)
            self.assertIn("TOKENWORKS_API_KEY", said)
            self.assertNotIn("secret", said)
        self.assertNotIn("--api-key ", run("serve", "--help").stdout)

    def test_values_out_of_range_are_named_with_the_range(self):
        for value in ("1e300", "-1", "nan", "inf"):
            for verb in ("serve", "run"):
                said = self.complaint(1, verb, STORIES, "--kv-memory", value)
                self.assertIn("--kv-memory", said)
                self.assertIn("0 to 1048576", said)

    def test_verbs_that_run_a_model_hold_flags_to_the_same_ranges(self):
        for flag, value, wanted in (("--ctx", "99999999999", "0 to 1073741824"), ("--threads", "1025", "0 to 1024"),
                                    ("--kv-type", "q8_0", "f16, bf16, int8 or f32"), ("--prompt-type", "fp8", "auto, int8"), ("--speculate", "draft", "lookup, off"),
                                    ("--packed-weights", "no", "auto, off"), ("--draft-tokens", "16", "0 to 15"),
                                    ("--draft-tokens", "4", "--draft-model"),
                                    ("--cpus", "3-1", "ranges such as")):
            for verb in ("serve", "run", "bench"):
                said = self.complaint(1, verb, STORIES, flag, value)
                self.assertIn(flag, said)
                self.assertIn(wanted, said)

    def test_a_draft_model_changes_no_answer_and_must_fit(self):
        asked = ("run", STORIES, "Once upon a time", "-n", "40", "-t", "0")
        plain = run(*asked)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        self.assertEqual(run(*asked, "--draft-model", STORIES, "--draft-tokens", "3").stdout, plain.stdout)
        other = Path(__file__).parent / "golden/families/qwen3"
        self.assertIn("vocabulary", self.complaint(1, *asked, "--draft-model", other))
        self.assertIn("nowhere.gguf", self.complaint(1, *asked, "--draft-model", "nowhere.gguf"))

    def test_a_damaged_model_is_named(self):
        damaged = bytearray(STORIES.read_bytes())
        scores = damaged.index(b"tokenizer.ggml.scores") + len(b"tokenizer.ggml.scores") + 4 + 4 + 8
        damaged[scores:scores + 4] = struct.pack("<f", float("nan"))
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            file.write(damaged)
            file.flush()
            said = self.complaint(1, "inspect", file.name)
        self.assertIn(f"tokenworks: {file.name}: ", said)
        self.assertIn("token 0", said)

    def test_a_palette_is_read_and_exported(self):
        llama = Path(__file__).parent / "golden/families/llama3"
        with tempfile.TemporaryDirectory() as place:
            self.assertIn("is for a folder", self.complaint(1, "quantize", llama, f"{place}/p.gguf", "--type", "palette"))
            self.assertIn("--bits", self.complaint(2, "quantize", llama, f"{place}/p", "--type", "palette", "--bits", "5"))
            done = run("quantize", llama, f"{place}/p", "--type", "palette", "--bits", "3", "--calibration", Path(__file__).parent / "data/text/README.md")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("mostly palettes of ", run("inspect", f"{place}/p").stdout)
            self.assertEqual(run("quantize", f"{place}/p", f"{place}/p.gguf", "--type", "f16").returncode, 0)
            told = [run("run", f"{place}/{name}", "abc", "-t", "0", "-n", "8") for name in ("p", "p.gguf")]
            self.assertEqual(told[0].stdout, told[1].stdout)
            self.assertEqual([t.returncode for t in told], [0, 0])

    def test_quantize_names_what_it_cannot_write(self):
        with tempfile.TemporaryDirectory() as place:
            self.assertIn("q4_k_m", self.complaint(1, "quantize", STORIES, f"{place}/m.gguf", "--type", "q9"))
            self.assertIn("f32, f16, bf16 or a palette", self.complaint(1, "quantize", STORIES, f"{place}/m", "--type", "q4_0"))
            self.assertIn("/m.gguf", self.complaint(1, "quantize", STORIES, f"{place}/none/m.gguf"))
            self.assertEqual(os.listdir(place), [])
            self.assertEqual(run("quantize", STORIES, f"{place}/m.gguf").returncode, 0)
            self.assertEqual(os.listdir(place), ["m.gguf"])
            self.assertIn(".gguf", self.complaint(1, "quantize", STORIES, f"{place}/f", "--calibration", STORIES))
            self.assertIn("none.txt", self.complaint(1, "quantize", STORIES, f"{place}/c.gguf", "--calibration", "none.txt"))
            Path(place, "empty.txt").write_text("")
            self.assertIn("empty.txt: is too short", self.complaint(1, "quantize", STORIES, f"{place}/c.gguf", "--calibration", f"{place}/empty.txt"))
            done = run("quantize", STORIES, f"{place}/c.gguf", "--calibration", Path(__file__).parent / "data/text/README.md")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertNotEqual(Path(place, "c.gguf").read_bytes(), Path(place, "m.gguf").read_bytes())
            told = run("run", f"{place}/m.gguf", "Once upon a time", "-t", "0", "-n", "8")
            self.assertEqual((told.returncode, told.stderr), (0, ""))

    def test_without_a_verb_there_is_help(self):
        done = run()
        self.assertEqual(done.returncode, 2)
        self.assertIn("Start here:", done.stdout)


class Help(unittest.TestCase):
    def test_every_verb_has_examples_that_name_it(self):
        verbs = [line.split()[0] for line in run("--help").stdout.split("Subcommands:")[1].split("Start here:")[0].splitlines()
                 if line.startswith("  ") and not line.startswith("   ")]
        self.assertIn("serve", verbs)
        for verb in verbs:
            shown = run(verb, "--help")
            self.assertEqual((shown.returncode, shown.stderr), (0, ""))
            self.assertIn(f"tokenworks {verb}", shown.stdout.split("Examples:")[1])


class Prompts(unittest.TestCase):
    """`run` with one argument: a model or a prompt?"""

    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.environment = {**os.environ, "TOKENWORKS_HOME": home.name}

    def run_(self, *arguments):
        return run("run", *arguments, "-n", "8", "-t", "0", env=self.environment)

    def test_a_lone_text_is_the_default_models_prompt(self):
        run("pull", STORIES, "--name", "smollm2-135m-instruct", env=self.environment)
        for prompt in ("Once upon a time", "Tell 1/2 of\nit?", " pip:x"):
            done = self.run_(prompt)
            self.assertEqual(done.returncode, 0, done)
            self.assertEqual(done.stdout, self.run_(STORIES, prompt).stdout)
        self.assertNotEqual(self.run_("Once upon a time").stdout, self.run_("Tell 1/2 of\nit?").stdout)

    def test_names_and_addresses_stay_models(self):
        run("pull", STORIES, "--name", "smollm2-135m-instruct", env=self.environment)
        for word in ("hello", "no/such", "no such.gguf", "hf:a/b and c", "https://example.org/ what is this?",
                     "pip:x y"):
            done = self.run_(word)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertRegex(done.stderr, r"\Atokenworks: [^\n]+\n\Z")
            self.assertIn(word, done.stderr)
            self.assertIn('tokenworks run "" "PROMPT"', done.stderr)

    def test_a_file_with_a_space_is_a_model(self):
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "my model"
            model.write_bytes(STORIES.read_bytes())
            done = self.run_(model)
        self.assertEqual(done.returncode, 0, done)  # no store, so no default model that could have answered


class Output(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.environment = {**os.environ, "TOKENWORKS_HOME": home.name}

    def start(self, *arguments, **more):
        return subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                text=True, env=self.environment, **more)

    def test_a_full_disk_is_one_line_and_a_failure(self):
        for arguments in (["run", STORIES, "Once", "-n", "5"], ["list"], ["list", "--json"], ["inspect", STORIES],
                          ["tokenize", STORIES, "Once"], ["info"], ["--help"], ["--version"],
                          ["bench", STORIES, "--json", "--no-ceilings", "-p", "8", "-n", "2", "-r", "1"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                process = self.start(*arguments, stdout=full)
                said = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, 1, arguments)
            reason = "(: No space left on device)" + ("?" if arguments[0].startswith("--") else "")
            self.assertRegex(said, rf"\Atokenworks: cannot write to standard output{reason}\n\Z", arguments)

    def test_an_answer_that_cannot_be_written_ends_early(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            process = self.start("run", STORIES, "Once", "-t", "2", "--seed", "1", "--ctx", "20000", "--isa", "ref",
                                 stdout=full)
            said = process.communicate(timeout=60)[1]  # all of it would take minutes
        self.assertEqual(process.returncode, 1)
        self.assertTrue(said.endswith("standard output: No space left on device\n"), said)

    def test_a_reader_that_has_left_is_no_complaint(self):
        for ignored in (False, True):  # SIGPIPE, as some parents leave it
            ours, theirs = os.pipe()
            os.close(ours)
            process = self.start("inspect", STORIES, "--tensors", stdout=theirs, restore_signals=not ignored)
            os.close(theirs)
            self.assertEqual(process.communicate(timeout=60)[1], "")
            self.assertEqual(process.returncode, 1 if ignored else -signal.SIGPIPE)


class Warnings(unittest.TestCase):
    def test_a_context_past_the_models_own(self):
        done = run("run", STORIES, "Once", "-n", "1", "--ctx", "1000")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("--ctx 1000 is past the 512 tokens", done.stderr)
        self.assertEqual(run("run", STORIES, "Once", "-n", "1", "--ctx", "512").stderr, "")


def with_template(template):
    """The bytes of the small model with a chat template, padded so that its tensors stay aligned."""
    model = STORIES.read_bytes()
    count = struct.unpack_from("<Q", model, 16)[0]
    key = b"tokenizer.chat_template"
    padding = -(8 + len(key) + 4 + 8 + len(template) + len("{##}")) % 32
    text = f"{template}{{#{' ' * padding}#}}".encode()
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(text)) + text
    return model[:16] + struct.pack("<Q", count + 1) + entry + model[24:]


class Templates(unittest.TestCase):
    def answer(self, *model):
        done = run("run", *model, "Once upon a time", "-t", "0", "-n", "24")
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def test_without_a_template_messages_are_lines_as_in_serve(self):
        told = run("run", STORIES, "He wanted", "--system", "Once upon a time", "-t", "0", "-n", "24")
        joined = run("run", STORIES, "Once upon a time\nHe wanted", "-t", "0", "-n", "24")
        self.assertEqual(told.stdout, joined.stdout)
        self.assertNotEqual(told.stdout, run("run", STORIES, "He wanted", "-t", "0", "-n", "24").stdout)

    def test_the_template_alone_writes_the_special_tokens(self):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            answers = []
            for template in ("{{ bos_token }}{{ messages[0].content }}", "{{ messages[0].content }}"):
                file.seek(0)
                file.truncate()
                file.write(with_template(template))
                file.flush()
                answers.append(self.answer(file.name))
        self.assertEqual(answers[0], self.answer(STORIES))
        self.assertNotEqual(answers[1], answers[0])


class Inspect(unittest.TestCase):
    def test_json_holds_the_metadata_and_every_tensor(self):
        shown = json.loads(run("inspect", "--json", STORIES).stdout)
        keys = {entry["key"]: entry["value"] for entry in shown["metadata"]}
        self.assertEqual(keys["llama.embedding_length"], str(shown["width"]))
        self.assertEqual(keys["llama.block_count"], str(shown["layers"]))
        sizes = {tensor["name"]: tensor["bytes"] for tensor in shown["tensors"]}
        self.assertEqual(len(sizes), 2 + 9 * shown["layers"] + (0 if shown["tied_embeddings"] else 1))
        self.assertEqual(sum(sizes.values()), shown["bytes"])


class Environment(unittest.TestCase):
    def test_info_shows_what_is_set_and_no_secret(self):
        secret = {**os.environ, "TOKENWORKS_HOME": "/some/place", "TOKENWORKS_API_KEY": "hush", "HF_TOKEN": ""}
        shown = json.loads(run("info", "--json", env=secret).stdout)["environment"]
        self.assertEqual(shown["TOKENWORKS_HOME"], "/some/place")
        self.assertEqual(shown["TOKENWORKS_API_KEY"], "(set)")
        self.assertIsNone(shown["HF_TOKEN"])
        self.assertRegex(run("info", env=secret).stdout, r"HF_TOKEN +\(not set\)")

    def test_the_kernel_set_is_forced_for_every_verb(self):
        ref = {**os.environ, "TOKENWORKS_ISA": "ref"}
        self.assertEqual(json.loads(run("info", "--json", env=ref).stdout)["kernels"], "ref")
        bench = ["bench", STORIES, "--prompt", "8", "--generate", "8", "-r", "1", "--no-ceilings", "--json"]
        self.assertEqual(json.loads(run(*bench, env=ref).stdout)["kernels"], "ref")
        none = {**os.environ, "TOKENWORKS_ISA": "none"}
        self.assertIn("unknown kernel set", run("run", STORIES, "Once", env=none).stderr)
        done = run("run", STORIES, "Once", "-n", "1", "--isa", "ref", env=none)  # the flag goes first
        self.assertEqual(done.returncode, 0, done)


class Bench(unittest.TestCase):
    def test_shares_past_the_ceiling_are_marked(self):
        done = run("bench", STORIES, "--json", "-p", "32", "-n", "16", "-r", "1")
        self.assertEqual(done.returncode, 0, done)
        measured = json.loads(done.stdout)
        past = max(measured["prefill_peak_share"], measured["decode_bandwidth_share"]) > 1
        self.assertIs(measured["ceilings_disturbed"], past)
        self.assertEqual("warning" in measured, past)


class Eval(unittest.TestCase):
    FILES = Path(__file__).parent / "golden/eval"

    def test_what_is_no_text_is_refused(self):
        with tempfile.TemporaryDirectory() as place:
            latin = Path(place) / "latin.txt"
            latin.write_bytes(b"caf\xe9 au lait")
            for flags in (["eval", STORIES, "--text", latin],
                          ["quantize", STORIES, f"{place}/m.gguf", "--type", "q8_0", "--calibration", latin]):
                done = run(*flags)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertEqual(done.stderr, f"tokenworks: {latin}: is no UTF-8 text: byte 0xe9 at offset 3; convert it or leave it out\n")
            self.assertEqual(list(Path(place).iterdir()), [latin])

    def measured(self, *arguments):
        done = run("eval", STORIES, *arguments, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def test_a_text_is_better_in_order_than_in_disorder(self):
        story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. " * 4
        with tempfile.TemporaryDirectory() as place:
            files = Path(place, "story.txt"), Path(place, "letters.txt")
            files[0].write_text(story)
            files[1].write_text("".join(sorted(story)))
            one, other = self.measured("--text", *files, "--ctx", "64")["text"]
        self.assertLess(one["perplexity"], 10)
        self.assertGreater(other["perplexity"], 10 * one["perplexity"])
        self.assertEqual(one["scored_tokens"], one["tokens"])  # behind a BOS every token is scored
        self.assertEqual(one["windows"], -(-one["tokens"] // 63))

    def test_questions_of_several_files_and_limits(self):
        tasks = self.measured("--tasks", self.FILES / "piqa.jsonl", self.FILES / "small_numbers_test.csv", "--limit", "2")["tasks"]
        self.assertEqual([(t["format"], t["questions"]) for t in tasks], [("piqa", 2), ("mmlu", 2), ("", 4)])
        for name in ("acc", "acc_norm", "acc_bytes"):
            self.assertAlmostEqual(2 * tasks[2][name], tasks[0][name] + tasks[1][name])
        shown = run("eval", STORIES, "--tasks", self.FILES / "small_numbers_test.csv", "--shots", "2").stdout
        self.assertIn("mmlu: 1 questions", shown)  # the first two are shown, not asked

    def test_mistakes_are_one_line(self):
        with tempfile.TemporaryDirectory() as place:
            broken = Path(place, "broken.jsonl")
            broken.write_text('{"context": "a", "choices": ["b", "c"], "label": 0}\n{"context": "a"}\n')
            for wanted, arguments in ((f"{broken}:2: ", ["--tasks", broken]), ("--text or --tasks", []),
                                      ("too few to show 2", ["--tasks", self.FILES / "piqa.jsonl", "--shots", "2"]),
                                      ("nowhere.txt", ["--text", "nowhere.txt"]), ("no/adapter", ["--text", broken, "--lora", "no/adapter"]),
                                      ("one whole window of 512", ["--text", broken, "--second-half"])):
                done = run("eval", STORIES, *arguments)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, r"\Atokenworks: [^\n]+\n\Z")
                self.assertIn(wanted, done.stderr)


class Tokens(unittest.TestCase):
    def test_parts_of_characters_are_shown_as_bytes(self):
        done = run("tokenize", STORIES, "x\u4e16")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn(r'"\xe4"', done.stdout)


class Slow(BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        model = STORIES.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(model)))
        self.end_headers()
        for at in range(0, len(model), 1 << 16):
            self.wfile.write(model[at:at + (1 << 16)])

    def log_message(self, *_):
        pass


class Progress(unittest.TestCase):
    def drawn(self, columns):
        """All that a pull with a long name draws on a terminal of that width."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tempfile.TemporaryDirectory() as store:
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            pull = subprocess.Popen(
                [PROGRAM, "pull", f"http://127.0.0.1:{server.server_port}/{'long-name-' * 9}.gguf"],
                stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs,
                env={**os.environ, "TOKENWORKS_HOME": store, "TERM": "xterm"})
            os.close(theirs)
            drawn = b""
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # the other side is closed
                    part = b""
                if not part:
                    break
                drawn += part
            os.close(ours)
            self.assertEqual(pull.wait(timeout=60), 0)
        server.shutdown()
        server.server_close()
        return [line.replace("\x1b[K", "") for line in drawn.decode().split("\r")]

    def test_the_bar_fits_the_terminal(self):
        for columns in (20, 40, 80, 200):
            lines = self.drawn(columns)
            self.assertTrue(any("100 %" in line for line in lines), lines)
            self.assertLess(max(map(len, lines)), columns)


if __name__ == "__main__":
    unittest.main()
