"""JSON that is nearly right: values of wrong types, and text that is no JSON, or not in UTF-8."""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

# As they stand in the text: some are no JSON.
_LITERALS: Final = (
    "null", "true", "false", "0", "-0", "-1", "1.0", "1.5", "1e400", "-1e400", "1e-400", "NaN",
    "Infinity", "-Infinity", "9" * 40, "2147483648", "18446744073709551616", "00", "+1", ".5",
    "''", '""', '" "', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u2028"', '"\x01"',
    '"' + "x" * 5000 + '"', '"../../etc/passwd"', '"test/scripted"',
    '"data:image/png;base64,AAAA"', '"file:///etc/passwd"', '"%s%n{}"', '"auto"', '"required"',
    '"user"', '"json_schema"', '"text"', "[]", "{}", "[[]]", "[null]", "[1, \"a\", {}]",
    '{"": null}', '{"type": "text"}', '{"type": "object", "properties": 7}', '{"toString": "x"}',
    '{"a": {"$ref": "#"}}', "undefined", "\\u0041", "[" * 200 + "]" * 200, "[" * 100_000,
    '{"a":' * 2000 + "1" + "}" * 2000, "[" + "1," * 2000 + "1]",
)  # fmt: skip
_NAMES: Final = (
    "model", "messages", "prompt", "stream", "n", "tools", "tool_choice", "stop", "max_tokens",
    "temperature", "response_format", "logit_bias", "seed", "user", "", "\0", "constructor",
    "a" * 300, "stream_options", "suffix", "best_of", "echo", "logprobs", "top_logprobs",
    "options", "keep_alive", "structured_outputs", "chat_template_kwargs", "reasoning_effort",
    "images", "system", "raw", "detach_timeout", "resume", "time_limit", "priority", "constraint",
    "sampling", "delivery", "lora_adapter", "cache_salt", "cacheSalt", "tool_calls", "tool_call_id",
    "toolCallId", "content", "continue_last_message", "continue_final_message", "reasoning",
    "template_arguments", "token_ids", "after_position", "request_id", "max_queue_wait",
    "guided_json", "guided_regex", "guided_grammar", "guided_choice", "parallel_tool_calls",
    "max_completion_tokens", "max_tokens", "image_url", "role", "regex", "ebnf", "choice", "name",
    "arguments", "parameters", "json_schema", "progress", "returnTokenIds", "asInstruction",
)  # fmt: skip


# To make more of it takes seconds, in which the service stands still that is in our process.
_MAX_REPEATED_CHARACTERS: Final = 200
# A list in a list that was repeated is as often in the text as that one, and so on.
_MAX_CHARACTERS: Final = 2_000_000


class _Literal:
    """Stands where a text is written as it is."""

    def __init__(self, text: str) -> None:
        self.text = text


def mutate(random: Random, body: Any) -> tuple[bytes, dict[str, str]]:
    """Returns the bytes of a body after a few changes, and the headers that go with them."""
    changed = copy.deepcopy(body)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        changed = _change(random, changed)
    text = _write(random, changed)
    if random.random() < 0.75:
        return text.encode("utf-8", "surrogatepass"), {}
    return random.choice(_PACKINGS)(random, text)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _places(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _places(each, (*path, index))


def _change(random: Random, body: Any) -> Any:
    path = random.choice(list(_places(body)))
    if not path:
        if isinstance(body, dict) and random.random() < 0.8:
            body[random.choice(_NAMES)] = _Literal(random.choice(_LITERALS))
            return body
        return _Literal(random.choice(_LITERALS))
    parent = body
    for step in path[:-1]:
        parent = parent[step]
    last = path[-1]
    kind = random.random()
    if kind < 0.55:
        parent[last] = _Literal(random.choice(_LITERALS))
    elif kind < 0.7:
        del parent[last]
    elif kind < 0.8:
        number = random.choice((1, 2, 300, 1100))
        is_long = len(_write(Random(0), parent[last])) > _MAX_REPEATED_CHARACTERS
        is_long = is_long or len(_write(Random(0), body)) * number > _MAX_CHARACTERS
        parent[last] = [parent[last]] * (2 if is_long else number)
    elif kind < 0.9:
        parent[last] = {random.choice(_NAMES): parent[last]}
    elif isinstance(parent, dict):
        parent[random.choice(_NAMES)] = parent.pop(last)
    else:
        parent.append(parent[last])
    return body


def _write(random: Random, value: Any) -> str:
    if isinstance(value, _Literal):
        return value.text
    if isinstance(value, dict):
        pairs = [f"{json.dumps(name)}: {_write(random, each)}" for name, each in value.items()]
        if pairs and random.random() < 0.05:
            pairs.append(random.choice(pairs))  # twice
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_write(random, each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=random.random() < 0.5)


def _cut(random: Random, text: str) -> tuple[bytes, dict[str, str]]:
    data = text.encode()
    return data[: random.randrange(len(data) + 1)], {}


def _flip(random: Random, text: str) -> tuple[bytes, dict[str, str]]:
    data = bytearray(text.encode())
    for _ in range(random.choice((1, 1, 5))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data), {}


def _recode(random: Random, text: str) -> tuple[bytes, dict[str, str]]:
    encoding = random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7", "latin-1"))
    data = text.encode(encoding, "replace")
    return data, random.choice(({}, {"Content-Type": f"application/json; charset={encoding}"}))


def _surround(random: Random, text: str) -> tuple[bytes, dict[str, str]]:
    junk = random.choice((b"\0", b"{}", b"\xff\xfe", b"// a\n", b"  \n\t", b"\x1e", b"]", b"\xc3"))
    data = text.encode()
    return (junk + data, {}) if random.random() < 0.5 else (data + junk, {})


def _pack(random: Random, text: str) -> tuple[bytes, dict[str, str]]:
    pack: Callable[[bytes], bytes] = random.choice((gzip.compress, zlib.compress))
    data = pack(text.encode() + b" " * random.choice((0, 0, 300_000)))
    name = random.choice(("gzip", "deflate", "gzip", "deflate", "br", "zstd", "gzip, gzip", "x"))
    if random.random() < 0.4:
        data = data[: random.randrange(len(data))] + random.randbytes(random.randrange(5))
    return data, {"Content-Encoding": name}


def _replace(random: Random, _text: str) -> tuple[bytes, dict[str, str]]:
    return random.randbytes(random.choice((0, 1, 30, 2000))), {}


def _retype(random: Random, text: str) -> tuple[bytes, dict[str, str]]:
    kind = random.choice(
        ("text/plain", "application/xml", "application/ld+json", "multipart/form-data; boundary=a",
         "", ";", "application/json;;charset", "application/x-www-form-urlencoded")
    )  # fmt: skip
    return text.encode(), {"Content-Type": kind}


_PACKINGS: Final[tuple[Callable[[Random, str], tuple[bytes, dict[str, str]]], ...]] = (
    _cut, _flip, _recode, _surround, _pack, _replace, _retype,
)  # fmt: skip
