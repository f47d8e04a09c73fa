#!/usr/bin/env python3
"""Writes what Python's jinja2, set up as transformers sets it up, makes of every chat template.

    tools/make_chat_template_golden.py              # tests/golden/chat_templates/
    tools/make_chat_template_golden.py --snippets   # tests/golden/chat_templates/snippets.json only

Needs jinja2 3.1 (pip install jinja2). One JSON file a template: {"cases": {conversation: number}, "outputs":
[[number, ...]], "lines": [text]}, where a case's number is that of an output, -1 says that jinja2 raises, and an
output is the texts with its numbers one after the other. The conversations themselves go to conversations.json.
snippets.json: [template, variables, output or null].
"""
import argparse
import datetime
import json
import pathlib
import re

import jinja2
import jinja2.ext
import jinja2.sandbox

import chat_template_conversations
import chat_template_snippets

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "tests/data/chat_templates"
GOLDEN = ROOT / "tests/golden/chat_templates"
NOW = 1767323045  # 2026-01-02 03:04:05 UTC; the tests give the same


class GenerationTag(jinja2.ext.Extension):
    """The tag that transformers uses to mark the assistant's tokens: its body is rendered as it is."""
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return body


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def compiled(env, source):
    """The template, or None if jinja2 refuses it."""
    try:
        return env.from_string(source)
    except Exception:  # pylint: disable=broad-except
        return None


def render(template, variables):
    """The text, or None if jinja2 refused the template or fails."""
    try:
        text = template.render(**variables)
        text.encode("utf-8")
        return text
    except Exception:  # pylint: disable=broad-except  (any failure of the template counts)
        return None


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def make_templates(env):
    conversations = chat_template_conversations.conversations()
    rows = ",\n".join(f"{dump(name)}:{dump(value)}" for name, value in conversations.items())
    (GOLDEN / "conversations.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")
    for path in sorted(TEMPLATES.glob("*.jinja")):
        template = compiled(env, path.read_text(encoding="utf-8"))
        outputs, cases, lines = [], {}, {}
        for name, variables in conversations.items():
            text = render(template, variables)
            if text is None:
                cases[name] = -1
                continue
            output = [lines.setdefault(line, len(lines)) for line in re.findall("[^\n]*\n|[^\n]+", text)]
            if output not in outputs:
                outputs.append(output)
            cases[name] = outputs.index(output)
        rows = [f'"cases":{dump(cases)}', f'"outputs":{dump(outputs)}',
                '"lines":[\n' + ",\n".join(map(dump, lines)) + "\n]"]
        (GOLDEN / (path.stem + ".json")).write_text("{" + ",\n".join(rows) + "}\n", encoding="utf-8")


def make_snippets(env):
    rows = [[source, variables, render(compiled(env, source), variables)]
            for source, variables in chat_template_snippets.snippets()]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (GOLDEN / "snippets.json").write_text("[\n" + lines + "\n]\n", encoding="utf-8")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--snippets", action="store_true", help="only snippets.json")
    arguments = options.parse_args()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    env = environment()
    if not arguments.snippets:
        make_templates(env)
    make_snippets(env)


if __name__ == "__main__":
    main()
