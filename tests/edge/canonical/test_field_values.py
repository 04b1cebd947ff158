"""Which field of a body is wrong, and what it must be."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from tokenwire.edge.canonical.field_values import field_values
from tokenwire.edge.canonical.json_codec import decode
from tokenwire.edge.errors import EdgeError
from tokenwire.generated.tokenwire.v1 import inference_pb2

GENERATE = inference_pb2.GenerateRequest
CHAT = inference_pb2.ChatRequest
UINT32 = "an integer from 0 to 4294967295"
BIAS = f"a number that fits into 32 bits under a key that is {UINT32}"


def nested(depth: int) -> dict[str, Any]:
    """Returns an object in an object, and so on."""
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


def sampling(**fields: Any) -> dict[str, Any]:
    """Returns a body with these values of `sampling`."""
    return {"text": "x", "sampling": fields}


def image(data: Any) -> dict[str, Any]:
    """Returns a body with this image."""
    return {"messages": [{"content": [{"text": "x"}, {"image": {"data": data}}]}]}


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (GENERATE, {"text": 5}, "text: must be a string, got 5"),
        (GENERATE, {"text": True}, "text: must be a string, got true"),
        (GENERATE, {"text": {}}, "text: must be a string, got an object"),
        (GENERATE, sampling(temperature=True), "temperature: must be a number that fits into 32 b"),
        (GENERATE, sampling(logitBias={"7": False}), f"logitBias[7]: must be {BIAS}, got false"),
        (GENERATE, {"delivery": 1.5}, "delivery: must be one of DELIVERY_UNSPECIFIED, DELIVERY_"),
        (GENERATE, {"delivery": True}, "delivery: must be one of DELIVERY_UNSPECIFIED, DELIVERY_"),
        (GENERATE, {"nothing": 1}, "nothing: is no field of this request"),
        (GENERATE, {"[a.b]": 1}, "[a.b]: is no field of this request"),
        (GENERATE, sampling(heat=1), "sampling.heat: is no field of this request"),
        (GENERATE, {"sampling": []}, "sampling: must be an object, got an array"),
        (GENERATE, sampling(temperature="hot"), "sampling.temperature: must be a number that fits"),
        (GENERATE, sampling(temperature=1e300), "into 32 bits, got 1e+300"),
        (GENERATE, sampling(seed=2**40), f"sampling.seed: must be {UINT32}, got 1099511627776"),
        (GENERATE, sampling(seed=-1), f"sampling.seed: must be {UINT32}, got -1"),
        (GENERATE, sampling(topK=1.5), "topK: must be an integer from -2147483648 to 2147483647"),
        (GENERATE, sampling(ignore_eos=1), "sampling.ignore_eos: must be true or false, got 1"),
        (GENERATE, sampling(stop="x"), "sampling.stop: must be an array, got a string"),
        (GENERATE, sampling(stop=["a", 1]), "sampling.stop[1]: must be a string, got 1"),
        (GENERATE, sampling(stop=[None, "a"]), "sampling.stop[0]: must be a string, got null"),
        (GENERATE, sampling(logitBias=[]), "sampling.logitBias: must be an object, got an array"),
        (GENERATE, sampling(logitBias={"x": 1}), f"logitBias[x]: must be {BIAS}, got 1"),
        (GENERATE, sampling(logitBias={"1": 1, "2": "b"}), f"[2]: must be {BIAS}, got a string"),
        (
            GENERATE,
            sampling(maxTokens=1, max_tokens=2),
            "sampling.max_tokens: only one of maxTokens and max_tok",
        ),
        (GENERATE, {"text": "x", "tokenIds": {}}, "prompt: only one of text and tokenIds may be"),
        (
            GENERATE,
            {"tokenIds": {"ids": [1] * 1000 + [-1]}},
            f"tokenIds.ids[1000]: must be {UINT32}",
        ),
        (
            GENERATE,
            {"delivery": "SOON"},
            "delivery: must be one of DELIVERY_UNSPECIFIED, DELIVERY_",
        ),
        (GENERATE, {"timeLimit": 5}, 'timeLimit: must be a duration such as "1.5s", got 5'),
        (GENERATE, {"timeLimit": "5 minutes"}, 'must be a duration such as "1.5s", got a string'),
        (GENERATE, {"resume": {"afterPosition": -1}}, "resume.afterPosition: must be an integer"),
        (CHAT, {"messages": {}}, "messages: must be an array, got an object"),
        (CHAT, {"messages": [{}, None]}, "messages[1]: must be an object, got null"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0].role: must be one of ROLE_UNSPECIFI"),
        (CHAT, image(5), "messages[0].content[1].image.data: must be base64 text, got 5"),
        (CHAT, image("a"), "messages[0].content[1].image.data: must be base64 text, got a string"),
        (
            CHAT,
            {"templateArguments": {"values": []}},
            "templateArguments.values: must be an object",
        ),
        (
            CHAT,
            {"templateArguments": {"values": nested(100)}},
            "templateArguments.values: must be an object of at most 32 levels, got an object",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_told_in_our_words(
    kind: type[Message], body: dict[str, Any], message: str
) -> None:
    """The place is the caller's own path, the description says what may stand there."""
    with pytest.raises(EdgeError) as caught:
        decode(body, kind)
    assert message in caught.value.message
    field, description = caught.value.violation or ("", "")
    assert caught.value.message == f"{field}: {description}"


@pytest.mark.parametrize(
    "body",
    [
        {"text": None, "tokenIds": {"ids": [1]}},
        sampling(temperature="1.5", seed="7", topK=2.0),
        sampling(logit_bias={"5": 1}),
        {"delivery": 2, "timeLimit": "1.5s", "resume": {"afterPosition": "12"}},
    ],
    ids=str,
)
def test_what_canonical_json_allows_is_taken(body: dict[str, Any]) -> None:
    """Null is absent, numbers may be text, enums numbers, and a name has two spellings."""
    assert decode(body, GENERATE) != GENERATE()


def test_messages_are_opened_up() -> None:
    """Every value of a body has the place where its caller finds it."""
    body = {"messages": [{"role": "ROLE_USER", "content": [{"text": "x"}]}], **sampling(stop=["a"])}
    found = field_values({k: v for k, v in body.items() if k != "text"}, CHAT.DESCRIPTOR)
    assert {value.place: value.value for value in found} == {
        "messages[0].role": "ROLE_USER",
        "messages[0].content[0].text": "x",
        "sampling.stop": ["a"],
    }


def test_depth_at_its_limit_and_above() -> None:
    """So many objects in each other are taken, and no more."""
    read = decode({"templateArguments": {"values": nested(31)}}, CHAT)
    assert CHAT.FromString(read.SerializeToString()) == read  # as the front reads it
    with pytest.raises(EdgeError, match="must be an object of at most 32 levels"):
        decode({"templateArguments": {"values": nested(32)}}, CHAT)
