#!/usr/bin/env python3
"""Makes tests/data/grammar/*.json: what Python's jsonschema and re say about samples of schemas and patterns.

Usage: tools/make_grammar_golden.py   (needs the Python package jsonschema; the files in the repository: 4.26.0)

For each schema: `accept` holds valid JSON texts in the layout that src/text/json_schema.h promises (properties in the
schema's order, none beyond the declared ones unless asked for), `reject` holds texts that are JSON and not valid.
For each pattern: strings that re.fullmatch accepts and refuses.
"""
import json
import pathlib
import random
import re

import jsonschema

try:
    import re._parser as sre_parse
except ImportError:
    import sre_parse

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "grammar"
rng = random.Random(20240229)

PATTERNS = r"""
a|b|abc
a*b+c?
(ab)*
(?:ab|cd)+e
[a-z]+
[^a-z]+
[A-Za-z_][A-Za-z0-9_]*
\d+
\d{3}-\d{4}
\d{2,}
\d{1,3}(\.\d{1,3}){3}
\w+@\w+\.com
\w+\s\w+
\S+
\D*
\W+
.*
.+
.{3}
.{2,5}
a.c
a{3}
a{2,}
a{0,2}b
(a|b){2,3}
(a?b?){3}
(a*)*b
(a+)+
(a|aa)+b
((a|b)*c){2}
[0-9a-f]{8}
#[0-9a-fA-F]{6}
[+-]?\d+
[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?
-?(0|[1-9]\d*)
(0|1)*1(0|1){3}
(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])
([01]\d|2[0-3]):[0-5]\d
(Mon|Tue|Wed|Thu|Fri|Sat|Sun)day
(red|green|blue)(, (red|green|blue))*
"[^"]*"
'([^'\\]|\\.)*'
\(\d{3}\) \d{3}-\d{4}
https?://[a-z.]+(/[a-z]*)*
[a-z]+(-[a-z]+)*
/[a-z]+/\d+
\$\d+\.\d{2}
[\w.+-]+@[\w-]+\.[\w.-]+
[\d\s]+
[^\d\s]+
[\-\]\\^]+
[]a]{0}x
[a\-z]+
[^\\]+
\.\*\+\?
\[x\]\{y\}
\|\(\)\^\$
\t\n\r
\x41\x42
\u0041\u0042
a|b|c|d|e|f
|a
a||b
()
(())a
(a(b(c(d)?)?)?)?
x(?:y|(?:z|w)+)*x
[a-c][d-f][g-i]
[a-cx-z]+
[éàü]+
é+
[^é]
日本(語)?
a*?b
a+?
a??b
a{2,3}?
(?:a|b)??c
^abc$
^a|b$
(^a)b(c$)
^(a|b)+$
^$
^
$
yes|no|maybe
[aeiou]{2}[^aeiou]{2}
(?:[A-Z]{2}\d{2} ?)+
\d+(,\d{3})*
v\d+(\.\d+){2}(-[a-z]+)?
[01]{4}( [01]{4})*
(..)+
(...)*
.a.
[a-z]*[0-9][a-z]*
(a|b)*abb
((aa)*b)*
(?:(?:a)b)c
0x[0-9A-F]+
[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}
\w{3,8}
[ -~]+
[!-/]+
""".strip("\n").split("\n")

S, I, N, B, Z = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}


def obj(properties, required=(), **more):
    return {"type": "object", "properties": properties, "required": list(required), **more}


def arr(items, **more):
    return {"type": "array", "items": items, **more}


def schemas():
    out = [{}, True, S, I, N, B, Z, {"type": "object"}, {"type": "array"}, {"type": ["string", "null"]},
           {"type": ["integer", "boolean", "array"]}, {"type": ["object", "string"]}]
    out += [{"enum": v} for v in (["a", "b"], [1, 2.5, -3], [None, True, False], ["", " ", "é", "\n\"\\"],
                                  [[1, "a"], {"k": [None]}], ["ab", "abc", "abcd"])]
    out += [{"const": v} for v in ("x", 0, None, {"a": 1, "b": [2]}, [[], {}], "日本")]
    out += [{"type": "string", "enum": ["a", 1, "b"]}, {"enum": [1, 5, 9], "minimum": 3}, {"enum": ["aa", "b"], "minLength": 2}]
    out += [{"type": "integer", "minimum": a, "maximum": b} for a, b in
            ((0, 9), (-5, 5), (1, 100), (17, 2345), (-1000, -1), (0, 0), (99, 101), (-99, 1000000))]
    out += [{"type": "integer", "minimum": 18}, {"type": "integer", "maximum": -3}, {"type": "integer", "exclusiveMinimum": 5},
            {"type": "integer", "exclusiveMaximum": 5, "exclusiveMinimum": -5}, {"type": "integer", "minimum": 1.5, "maximum": 3.5},
            {"type": "integer", "multipleOf": 3}, {"type": "integer", "multipleOf": 25, "minimum": 10, "maximum": 510}]
    out += [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25},
            {"type": "number", "exclusiveMinimum": 0}, {"type": "number", "maximum": 100}, {"type": "number", "minimum": 0.125, "maximum": 0.5},
            {"type": "number", "minimum": -10, "maximum": -0.5}, {"type": "number", "minimum": 1000.75}]
    out += [{"type": "string", "minLength": a} for a in (1, 3)] + [{"type": "string", "maxLength": a} for a in (0, 1, 5)]
    out += [{"type": "string", "minLength": 2, "maxLength": 4}]
    out += [{"type": "string", "pattern": p} for p in ("^[a-z]+$", "a", "^a", "z$", "^\\d{3}$", "^(red|green)$", "^.{2,3}$", "[0-9]",
                                                       "^[^\"]*$", "^\\w+@\\w+$", "a.*b", "^(a|bb)*$", "^é+$", "^\\S+$", "x|y")]
    out += [{"type": "string", "pattern": "^[a-z]*$", "minLength": 2, "maxLength": 3}, {"type": "string", "pattern": "b", "maxLength": 3}]
    out += [arr(I), arr(S, minItems=1), arr(I, maxItems=2), arr(B, minItems=2, maxItems=3), arr(arr(I)), arr({"enum": ["x", "y"]}, minItems=1, maxItems=1),
            {"type": "array", "maxItems": 0}, {"type": "array", "minItems": 1}, {"type": "array", "prefixItems": [I, S]},
            {"type": "array", "prefixItems": [I, S], "items": False}, {"type": "array", "prefixItems": [I], "items": B, "minItems": 2},
            {"type": "array", "prefixItems": [S, S, S], "items": False, "minItems": 1, "maxItems": 2}, arr(obj({"a": I}, ["a"]))]
    out += [obj({"a": I}), obj({"a": I}, ["a"]), obj({"a": I, "b": S}, ["b"]), obj({"a": I, "b": S, "c": B}, ["a", "c"]),
            obj({"a": I, "b": S, "c": B, "d": Z, "e": N}), obj({"a": I}, [], additionalProperties=False), obj({}, [], additionalProperties=False),
            obj({"a": I}, ["a"], additionalProperties=S), obj({"a": I, "ab": S}, [], additionalProperties=B), {"type": "object", "additionalProperties": I},
            {"type": "object", "additionalProperties": arr(S), "minProperties": 1}, {"type": "object", "additionalProperties": I, "maxProperties": 2},
            obj({"a": I, "b": I, "c": I}, [], minProperties=2), obj({"a": I, "b": I, "c": I}, [], maxProperties=1),
            obj({"a": I, "b": I}, ["b"], additionalProperties=Z, minProperties=2, maxProperties=3), obj({"x y": I, "é\"": S, "": B}, ["é\""]),
            obj({"o": obj({"p": obj({"q": I}, ["q"])}, ["p"])}, ["o"]), obj({"name": S, "tags": arr(S), "age": {"type": "integer", "minimum": 0}}, ["name", "age"]),
            obj({"a": {}}, ["a"]), obj({"a": True, "b": False}), {"type": "object", "required": ["k"], "additionalProperties": I}]
    out += [{"anyOf": [S, I]}, {"anyOf": [arr(I), obj({"a": I}, ["a"])]}, {"anyOf": [{"const": 1}, {"type": "string", "pattern": "^a"}, Z]},
            {"oneOf": [S, I, B]}, {"oneOf": [obj({"t": {"const": "a"}, "x": I}, ["t"]), obj({"t": {"const": "b"}, "y": S}, ["t", "y"])]},
            {"allOf": [I, {"minimum": 3}, {"maximum": 8}]}, {"allOf": [{"type": ["string", "null"]}, {"maxLength": 2}]},
            {"allOf": [obj({"a": I}, ["a"]), {"properties": {"a": {"minimum": 0}}}]}, obj({"v": {"anyOf": [S, Z]}}, ["v"]),
            {"type": "object", "properties": {"k": {"enum": ["x", "y"]}, "v": I}, "required": ["k"], "anyOf": [{"required": ["v"]}, {"properties": {"k": {"const": "x"}}}]},
            {"allOf": [{"anyOf": [S, I]}, {"anyOf": [I, B]}]}]
    tree = obj({"v": I, "l": {"$ref": "#/$defs/t"}, "r": {"$ref": "#/$defs/t"}}, ["v"])
    out += [{"$ref": "#/$defs/t", "$defs": {"t": tree}}, obj({"kids": arr({"$ref": "#"})}, ["kids"]),
            {"$ref": "#/definitions/s", "definitions": {"s": {"type": "string", "maxLength": 3}}},
            {"anyOf": [Z, obj({"next": {"$ref": "#"}}, ["next"])]}, {"type": "array", "items": {"anyOf": [I, {"$ref": "#"}]}},
            {"$ref": "#/$defs/a", "maxLength": 2, "$defs": {"a": S}}]
    out += [{"type": "object", "title": "Weather", "description": "d", "properties": {
        "location": {"type": "string", "description": "city"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 16, "default": 3}}, "required": ["location"], "additionalProperties": False}]
    return out


def sample_pattern(pattern):
    """A string that probably matches."""
    def walk(tokens):
        return "".join(one(op, value) for op, value in tokens)

    def category(value):
        return {"CATEGORY_DIGIT": "0123456789", "CATEGORY_WORD": "aZ_9", "CATEGORY_SPACE": " \t", "CATEGORY_NOT_DIGIT": "a- é",
                "CATEGORY_NOT_WORD": " -é", "CATEGORY_NOT_SPACE": "a9-é"}[str(value)]

    def one(op, value):
        op = str(op)
        if op == "LITERAL":
            return chr(value)
        if op == "NOT_LITERAL":
            return rng.choice([c for c in "ab0 é" if ord(c) != value])
        if op == "ANY":
            return rng.choice("ab9 é.日")
        if op == "IN":
            chars = ""
            for kind, v in value:
                kind = str(kind)
                if kind == "LITERAL":
                    chars += chr(v)
                elif kind == "RANGE":
                    chars += chr(v[0]) + chr(v[1]) + chr((v[0] + v[1]) // 2)
                elif kind == "CATEGORY":
                    chars += category(v)
            if str(value[0][0]) == "NEGATE":
                chars = "aZ0 -é日x"
                return rng.choice(chars)
            return rng.choice(chars)
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = value
            high = low + 3 if high > 1000 else int(high)
            return "".join(walk(body) for _ in range(rng.randint(low, high)))
        if op == "SUBPATTERN":
            return walk(value[3])
        if op == "BRANCH":
            return walk(rng.choice(value[1]))
        if op == "CATEGORY":
            return rng.choice(category(value))
        return ""

    return walk(sre_parse.parse(pattern))


def mutate_string(text):
    alphabet = "abcxyz019 -_.\"\\é日A#@/,"
    at = rng.randrange(len(text) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + rng.choice(alphabet) + text[at:]
    if kind == 1:
        return text[:at] + text[at + 1:]
    if kind == 2:
        return text[:at] + rng.choice(alphabet) + text[at + 1:]
    return text + text[:3]


def regex_cases():
    cases = []
    for pattern in PATTERNS:
        if pattern.startswith("[]"):
            continue  # Python and ECMA read this differently
        compiled = re.compile(pattern.replace("$", "\\Z") if "\\$" not in pattern else pattern, re.ASCII)
        texts = {""}
        for _ in range(60):
            text = sample_pattern(pattern)
            texts.update((text, mutate_string(text), mutate_string(mutate_string(text))))
        texts = [t for t in sorted(texts) if len(t) < 60 and not any(ord(c) in (0x0B, 0x0C, 0x1C, 0x85, 0xA0) for c in t)]
        rng.shuffle(texts)
        yes = [t for t in texts if compiled.fullmatch(t)]
        no = [t for t in texts if not compiled.fullmatch(t)]
        cases.append({"pattern": pattern, "accept": sorted(yes)[:1] + yes[:14], "reject": no[:15]})
    return cases


class Skip(Exception):
    pass


def some_string():
    return "".join(rng.choice("abé 日\"\\\n0z/") for _ in range(rng.randrange(6)))


def generate(schema, root, depth=0):
    """A value that is likely valid, with its properties in the schema's order."""
    if depth > 6:
        raise Skip
    if schema is True or schema == {}:
        return rng.choice([None, True, 1, -2.5, some_string(), [], [1, "a"], {}, {"k": [None]}])
    if schema is False:
        raise Skip
    if "$ref" in schema:
        target = root
        for part in schema["$ref"][1:].split("/")[1:]:
            target = target[part]
        return generate(target, root, depth)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            rest = {k: v for k, v in schema.items() if k != word}
            if "properties" in rest:
                return generate(rest, root, depth)
            return generate(rng.choice(schema[word]), root, depth)
    if "allOf" in schema:
        return generate(rng.choice(schema["allOf"]), root, depth)
    kinds = schema.get("type", ["object"])
    kind = rng.choice(kinds if isinstance(kinds, list) else [kinds])
    if kind == "null":
        return None
    if kind == "boolean":
        return rng.choice([True, False])
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -50))
        high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 200))
        if kind == "number" and rng.random() < 0.7:
            return round(rng.uniform(low, high), rng.randint(1, 6))
        return rng.choice([rng.randint(int(low) - 1, int(high) + 1), int(low), int(high)])
    if kind == "string":
        text = sample_pattern(schema["pattern"]) if "pattern" in schema else some_string()
        return rng.choice([text, "x" + text, text + "ab"]) if "^" not in schema.get("pattern", "") else text
    if kind == "array":
        prefix = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        most = schema.get("maxItems", 4)
        if rest is False:
            most = min(most, len(prefix))
        count = rng.randint(min(schema.get("minItems", 0), most), most)
        return [generate(prefix[i] if i < len(prefix) else rest, root, depth + 1) for i in range(count)]
    return generate_object(schema, root, depth)


def generate_object(schema, root, depth):
    out = {}
    required = schema.get("required", [])
    for key, sub in schema.get("properties", {}).items():
        if sub is not False and (key in required or rng.random() < (0.5 if depth < 3 else 0.1)):
            out[key] = generate(sub, root, depth + 1)
    more = schema.get("additionalProperties", "properties" not in schema)
    for key in required:
        if key not in out:
            out[key] = generate(more, root, depth + 1)
    if more is not False:
        for key in rng.sample(["k1", "zz", "é", "q\"", "aa", "A"], rng.randrange(3)):
            out[key] = generate(more, root, depth + 1)
    return out


def mutate(value):
    if rng.random() < 0.15:
        return rng.choice([None, True, False, 0, -1, 7, 1.5, "", "a", "zz", [], [1], {}, {"a": 1}, 10**6])
    if isinstance(value, bool) or value is None:
        return rng.choice([0, "true", None, True])
    if isinstance(value, (int, float)):
        return rng.choice([value + 1, value - 1, -value, value * 10, value + 0.5, str(value), value * 1000])
    if isinstance(value, str):
        return mutate_string(value)
    if isinstance(value, list):
        out = list(value)
        if out and rng.random() < 0.6:
            at = rng.randrange(len(out))
            out[at] = mutate(out[at])
        elif out and rng.random() < 0.5:
            out.pop(rng.randrange(len(out)))
        else:
            out.append(rng.choice([1, "a", None, True]))
        return out
    out = dict(value)
    if out and rng.random() < 0.6:
        key = rng.choice(sorted(out))
        out[key] = mutate(out[key])
    elif out and rng.random() < 0.5:
        out.pop(rng.choice(sorted(out)))
    else:
        out[rng.choice(["a", "b", "zzz", "t", "v"])] = rng.choice([1, "a", None])
    return out


def dump(value):
    style = rng.randrange(3)
    if style == 0:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if style == 1:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, indent=2)


def layout_ok(text):
    """Numbers as the grammar writes them, and characters that the canonical form leaves alone."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    return not re.search(r"\d{15}|[eE][+-]?\d{3}|-0(?![.\d])|(?<=\d)e|\d\.0(?!\d)", outside)


def schema_cases():
    cases = []
    for schema in schemas():
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        accept, reject = set(), set()
        for _ in range(150):
            try:
                value = generate(schema, schema)
            except Skip:
                continue
            text = dump(value)
            if validator.is_valid(value) and layout_ok(text):
                accept.add(text)
            for bad in (value, mutate(value), mutate(mutate(value))):
                if not validator.is_valid(bad):
                    reject.add(dump(bad))
        pick = lambda texts: rng.sample(sorted(texts), min(len(texts), 14))
        cases.append({"schema": schema, "accept": pick(accept), "reject": pick(reject)})
    return cases


def write(name, cases):
    OUT.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (OUT / name).write_text("[\n" + lines + "\n]\n", encoding="utf-8")
    print(name, len(cases), "cases,", sum(len(c["accept"]) for c in cases), "accepted,", sum(len(c["reject"]) for c in cases), "refused")


write("regex_golden.json", regex_cases())
write("json_schema_golden.json", schema_cases())
