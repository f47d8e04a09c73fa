"""The conversations on which every chat template is tried: each is the variables of one render."""

ODD = ("It's \"quoted\"\tand\\back\\slashed\n\n  indented {{ not_a_variable }} {% if %} {# note #}\r\n"
       "<|im_end|><|eot_id|>[/INST]</s> <b>&amp; html</b> 👩‍👩‍👧 \u200fשלום עולם e\u0301\u0323 \u00a0nbsp\u2028ls ﬁ ΟΔΟΣ 'mixed\" ")

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a \"city\".\nSecond line.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city, e.g. <Paris> & Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
            },
            "required": ["city"],
        },
    },
}
ORDER = {
    "type": "function",
    "function": {
        "name": "place_order",
        "description": "Places an order",
        "parameters": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "description": "What to buy", "items": {
                    "type": "object",
                    "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}},
                    "required": ["sku"]}},
                "tags": {"type": "array", "items": {"type": "string"}},
                "price": {"type": ["number", "null"], "description": "Price in €", "examples": [1.5, 2]},
                "express": {"type": "boolean", "nullable": True},
                "address": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}]},
                "note": {"oneOf": [{"type": "string", "minLength": 1, "maxLength": 80}, {"type": "null"}]},
            },
            "required": ["items", "express"],
            "additionalProperties": False,
        },
        "return": {"type": "object", "properties": {"id": {"type": "string"}}},
    },
}
PLAIN = {"type": "function", "function": {"name": "now", "description": "Tells the time",
                                          "parameters": {"type": "object", "properties": {}}}}
TOOLS = [WEATHER, ORDER, PLAIN]

SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
HELLO = {"role": "user", "content": "Hello!"}
HI = {"role": "assistant", "content": "Hi, how can I help?"}
AGAIN = {"role": "user", "content": "Tell me a joke."}


def call(arguments, name="get_weather", identifier="call12345"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls, content=None, **more):
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def result(content='{"temperature": 21.5, "sky": "clear"}', identifier="call12345", name="get_weather"):
    return {"role": "tool", "content": content, "tool_call_id": identifier, "name": name}


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


PARIS = {"city": "Paris", "unit": "celsius", "days": 3}
NESTED = {"items": [{"sku": "a\"1", "count": 2}, {"sku": "ü"}], "tags": [], "price": 1e-07, "express": True,
          "address": {"x": None}, "note": ODD}
ASK = {"role": "user", "content": "What's the weather in Paris?"}


def message_lists():
    """Name to (messages, more variables)."""
    chat = [HELLO, HI, AGAIN]
    dict_calls = [SYSTEM, ASK, calling(call(PARIS)), result(), {"role": "assistant", "content": "It is 21.5 °C."}, AGAIN]
    string_calls = [ASK, calling(call('{"city": "Paris", "days": 3}'), content=""), result()]
    two_calls = [ASK, calling(call(PARIS), call(NESTED, "place_order", "call67890"), content="Let me look."),
                 result(), result("done", "call67890", "place_order")]
    return {
        "user": ([HELLO], {}),
        "system": ([SYSTEM, HELLO], {}),
        "several_turns": ([SYSTEM] + chat, {}),
        "no_system_turns": (chat, {}),
        "ends_with_assistant": ([SYSTEM, HELLO, HI], {}),
        "long": ([SYSTEM] + chat + [HI, HELLO, HI, AGAIN, HI, {"role": "user", "content": "Bye."}], {}),
        "odd_characters": ([{"role": "system", "content": ODD}, {"role": "user", "content": ODD},
                            {"role": "assistant", "content": ODD}, {"role": "user", "content": ODD}], {}),
        "spaces": ([{"role": "system", "content": "  \n "}, {"role": "user", "content": "\n\n hi \t\n"},
                    {"role": "assistant", "content": "  ok  "}, {"role": "user", "content": " "}], {}),
        "empty_content": ([{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, HELLO], {}),
        "null_content": ([HELLO, {"role": "assistant", "content": None}, AGAIN], {}),
        "no_content_key": ([HELLO, {"role": "assistant"}, AGAIN], {}),
        "developer": ([{"role": "developer", "content": "Be brief."}, HELLO], {}),
        "system_and_developer": ([SYSTEM, {"role": "developer", "content": "Be brief."}, HELLO, HI, AGAIN], {}),
        "late_system": ([HELLO, HI, SYSTEM, AGAIN], {}),
        "text_parts": ([{"role": "system", "content": parts("You are", " terse.")},
                        {"role": "user", "content": parts("Hello", "there " + ODD)},
                        {"role": "assistant", "content": parts("Hi")}, {"role": "user", "content": parts("More")}], {}),
        "image_part": ([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}], {}),
        "reasoning": ([ASK, {"role": "assistant", "content": "Sunny.", "reasoning_content": "The user\nasks."}, AGAIN], {}),
        "reasoning_last": ([ASK, {"role": "assistant", "content": "Sunny.", "reasoning_content": "Hm. " + ODD}], {}),
        "think_tags": ([ASK, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nSunny."}, AGAIN], {}),
        "think_tags_last": ([ASK, {"role": "assistant", "content": "<think>Hm.</think>Sunny.</think>x"}], {}),
        "thinking_keys": ([ASK, {"role": "assistant", "content": "Sunny.", "thinking": "Hm.", "reasoning": "Ah."}, AGAIN], {}),
        "tools": ([ASK], {"tools": TOOLS}),
        "tools_system": ([SYSTEM, ASK], {"tools": [WEATHER]}),
        "tools_empty": ([SYSTEM, ASK], {"tools": []}),
        "tools_none": ([SYSTEM, ASK], {"tools": None}),
        "tools_odd": ([ASK], {"tools": [{"type": "function", "function": {
            "name": "odd", "description": ODD, "parameters": {"type": "object", "properties": {
                "größe": {"type": "number", "description": ODD, "enum": [1, 2.5, None, True, "x'y"]}}, "required": []}}}]}),
        "calls_dict": (dict_calls, {"tools": TOOLS}),
        "calls_dict_no_tools": (dict_calls, {}),
        "calls_string": (string_calls, {"tools": [WEATHER]}),
        "calls_string_no_tools": (string_calls, {}),
        "two_calls": (two_calls, {"tools": TOOLS}),
        "two_calls_last": (two_calls[:2], {"tools": TOOLS}),
        "calls_with_reasoning": ([ASK, calling(call(PARIS), content="Checking.", reasoning_content="I need it."), result(),
                                  {"role": "assistant", "content": "Warm.", "reasoning_content": "Fine."}], {"tools": TOOLS}),
        "call_chain": ([SYSTEM, ASK, calling(call(PARIS), content="", reasoning_content="First."), result(),
                        calling(call({}, "now", "call00000"), content="", reasoning_content="Then."),
                        result("12:00", "call00000", "now")], {"tools": TOOLS}),
        "empty_arguments": ([ASK, calling(call({}, "now")), result("12:00", name="now")], {"tools": [PLAIN]}),
        "no_arguments_key": ([ASK, calling({"id": "call12345", "type": "function", "function": {"name": "now"}}),
                              result("12:00")], {"tools": [PLAIN]}),
        "bare_call": ([ASK, calling({"name": "now", "arguments": {"a": [1, None, False]}}), result("12:00")], {"tools": [PLAIN]}),
        "result_parts": ([ASK, calling(call(PARIS)), result(parts("21", ".5")), AGAIN], {"tools": [WEATHER]}),
        "result_object": ([ASK, calling(call(PARIS)), result({"temperature": 21.5, "list": ["a", None]}), AGAIN],
                          {"tools": [WEATHER]}),
        "unknown_role": ([HELLO, {"role": "observer", "content": "Hm."}, AGAIN], {}),
        "two_users": ([HELLO, AGAIN], {}),
        "assistant_first": ([HI, HELLO], {}),
        "nothing": ([], {}),
        "documents": ([SYSTEM, ASK], {"documents": [{"title": "A & B", "text": ODD, "doc_id": 1},
                                                    {"title": "Z", "text": "Short.", "doc_id": 2}]}),
        "documents_tools": ([ASK], {"documents": [{"title": "A", "text": "T", "doc_id": 0}], "tools": [WEATHER]}),
        "reasoning_effort": ([SYSTEM, ASK], {"reasoning_effort": "high", "thinking": True, "custom_instructions": "Be kind."}),
        "thinking_flag": ([SYSTEM, ASK, HI, AGAIN], {"thinking": False, "clear_thinking": False, "preserve_thinking": True}),
        "date_string": ([HELLO], {"date_string": "1 Jan 2025", "model_identity": "You are Tok.", "xml_tools": ["a"],
                                  "python_tools": ["b"], "builtin_tools": ["code_interpreter"], "tools": [WEATHER]}),
        "functions": ([SYSTEM, ASK], {"functions": "[{\"name\": \"now\"}]", "datetime": "2026-01-02"}),
        "response_format": ([HELLO], {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
                                      "response_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}),
    }


def conversations():
    """Each list of messages, with and without the prompt for an answer; some with thinking switched on and off."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    out = {}
    for name, (messages, more) in message_lists().items():
        base = {"messages": messages, **tokens, **more}
        out[name] = {**base, "add_generation_prompt": True}
        out[name + "/no_prompt"] = {**base, "add_generation_prompt": False}
        if name in ("user", "several_turns", "reasoning", "reasoning_last", "call_chain", "tools_system"):
            for flag in (True, False):
                out[f"{name}/thinking_{flag}".lower()] = {**base, "add_generation_prompt": True, "enable_thinking": flag}
    return out
