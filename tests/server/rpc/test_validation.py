"""What a request's proto refuses, by field."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.buf.validate import validate_pb2
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2, sampling_pb2
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.request.sampling import CLAMPED_RANGES
from tokenwire.server.rpc.validation import validate


def generate(**fields: Any) -> inference_pb2.GenerateRequest:
    """A valid GenerateRequest but for `fields`."""
    return inference_pb2.GenerateRequest(**({"model": "m", "text": "hi"} | fields))


def chat(*messages: chat_pb2.Message, **fields: Any) -> inference_pb2.ChatRequest:
    """A ChatRequest with these messages, or with one valid one."""
    return inference_pb2.ChatRequest(
        model="m", messages=messages or (message(chat_pb2.ROLE_USER),), **fields
    )


def message(role: Any, **fields: Any) -> chat_pb2.Message:
    """A message of a role, with some text."""
    parts = [chat_pb2.ContentPart(text="hi")]
    return chat_pb2.Message(**({"role": role, "content": parts} | fields))


def sampling(**fields: Any) -> inference_pb2.GenerateRequest:
    """A GenerateRequest with these sampling values."""
    return generate(sampling=sampling_pb2.Sampling(**fields))


@pytest.mark.parametrize(
    "request_",
    [
        generate(),
        chat(),
        chat(
            message(chat_pb2.ROLE_USER),
            message(chat_pb2.ROLE_ASSISTANT),
            continue_last_message=True,
        ),
        sampling(temperature=2, top_p=0),
        sampling(repetition_penalty=0.01),
    ],
)
def test_good_requests_pass(request_: Any) -> None:
    """A request within every rule passes."""
    validate(request_)


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (generate(model=""), "model", "at least 1"),
        (generate(model="m" * 513), "model", "513"),
        (generate(text=""), "text", "at least 1"),
        (inference_pb2.GenerateRequest(model="m"), "prompt", "must have text or token_ids"),
        (generate(token_ids=inference_pb2.TokenIds()), "token_ids.ids", "at least 1"),
        (generate(suffix="x", as_instruction=True), "suffix", "as_instruction"),
        (inference_pb2.ChatRequest(model="m"), "messages", "at least 1"),
        (chat(message(chat_pb2.ROLE_UNSPECIFIED)), "messages[0].role", ""),
        (chat(message(99)), "messages[0].role", "99"),
        (chat(message(2, content=[chat_pb2.ContentPart()])), "messages[0].content[0].part", ""),
        (chat(tool_choice=chat_pb2.ToolChoice(mode=100)), "tool_choice.mode", "got 100"),  # type: ignore[arg-type]
        (generate(time_limit=Duration(nanos=-(2**31))), "time_limit", "got no valid duration"),
        (sampling(temperature=2.5), "sampling.temperature", "between 0 and 2, got 2.5"),
        (sampling(temperature=-1), "sampling.temperature", "got -1"),
        (sampling(temperature=math.nan), "sampling.temperature", ""),
        (sampling(temperature=math.inf, clamp=True), "sampling.temperature", "finite"),
        (sampling(top_p=1.5), "sampling.top_p", "got 1.5"),
        (sampling(top_k=-1), "sampling.top_k", "got -1"),
        (sampling(min_p=2), "sampling.min_p", "got 2"),
        (sampling(repetition_penalty=0), "sampling.repetition_penalty", "0.01 and 2, got 0"),
        (sampling(repetition_penalty=1e-38), "sampling.repetition_penalty", "0.01 and 2, got"),
        (sampling(repetition_penalty=0.009), "sampling.repetition_penalty", "0.01 and 2, got"),
        (sampling(presence_penalty=3), "sampling.presence_penalty", "got 3"),
        (sampling(frequency_penalty=-3), "sampling.frequency_penalty", "got -3"),
        (sampling(max_tokens=-1), "sampling.max_tokens", "got -1"),
        (sampling(max_tokens=-1, clamp=True), "sampling.max_tokens", "got -1"),
        (sampling(min_tokens=5, max_tokens=4), "sampling.min_tokens", "max_tokens (4), got 5"),
        (sampling(stop=[""]), "sampling.stop[0]", "at least 1"),
        (sampling(stop=["x"] * 17), "sampling.stop", "16 items, got 17"),
        (sampling(stop=["x" * 257]), "sampling.stop[0]", "257"),
        (sampling(logit_bias={3: 101}), "sampling.logit_bias[3]", "got 101"),
        (chat(continue_last_message=True), "continue_last_message", "of the assistant"),
        (generate(delivery=9), "delivery", "got 9"),
        (generate(time_limit=Duration()), "time_limit", "greater than"),
        (generate(max_queue_wait=Duration(seconds=-1)), "max_queue_wait", "greater than"),
        (generate(priority=101), "priority", "less than or equal to 100"),
        (generate(priority=-101), "priority", "-100"),
        (generate(cache_salt="x" * 257), "cache_salt", "257"),
    ],
)
def test_broken_rules_name_the_field(request_: Any, field: str, words: str) -> None:
    """Every broken rule is refused by the field's name, with limit and value."""
    with pytest.raises(InvalidRequest) as refused:
        validate(request_)
    named = dict(refused.value.violations)
    assert field in named
    assert words in named[field]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (generate(model=""), "must have at least 1 character, got 0"),
        (generate(model="m" * 513), "must have at most 512 characters, got 513"),
        (generate(token_ids=inference_pb2.TokenIds()), "must have at least 1 item, got 0"),
        (sampling(stop=["x"] * 17), "must have at most 16 items, got 17"),
        (
            sampling(logit_bias=dict.fromkeys(range(1025), 1.0)),
            "must have at most 1024 entries, got 1025",
        ),
    ],
)
def test_lengths_are_told_in_english(request_: Any, sentence: str) -> None:
    """A length that breaks a rule is told with the limit, one or several, and what came."""
    with pytest.raises(InvalidRequest) as refused:
        validate(request_)
    assert [text for _, text in refused.value.violations] == [sentence]


_ROLES = "ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT or ROLE_TOOL"
_DELIVERIES = "DELIVERY_DELTAS or DELIVERY_FINAL"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (chat(message(chat_pb2.ROLE_UNSPECIFIED)), f"must be set: {_ROLES}"),
        (chat(message(99)), f"must be {_ROLES}, got 99"),
        (generate(delivery=9), f"must be {_DELIVERIES}, got 9"),
        (inference_pb2.GenerateRequest(model="m"), "must have text or token_ids"),
        (chat(message(2, content=[chat_pb2.ContentPart()])), "must have text or image"),
        (sampling(temperature=2.1), "must be between 0 and 2, got 2.1"),
        (sampling(temperature=-1e-7), "must be between 0 and 2, got -1e-07"),
        (sampling(top_p=math.inf), "must be finite, got inf"),
        (sampling(top_p=math.nan), "must be finite, got nan"),
        (
            sampling(logit_bias={3: 100.1}),
            "must be greater than or equal to -100 and less than or equal to 100, got 100.1",
        ),
    ],
)
def test_rules_are_told_in_english(request_: Any, sentence: str) -> None:
    """A broken rule is told once, with the names that work and the number as it was sent."""
    with pytest.raises(InvalidRequest) as refused:
        validate(request_)
    assert [text for _, text in refused.value.violations] == [sentence]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 99},
        {"top_p": 7},
        {"top_k": -5},
        {"min_p": -1},
        {"repetition_penalty": 0},
        {"presence_penalty": 9},
        {"frequency_penalty": -9},
    ],
)
def test_clamp_steps_aside_from_ranges(fields: dict[str, float]) -> None:
    """With clamp, a value outside its range is not refused."""
    validate(sampling(clamp=True, **fields))


def choice(*values: str) -> sampling_pb2.Constraint:
    return sampling_pb2.Constraint(choice=sampling_pb2.Constraint.Choice(values=values))


@pytest.mark.parametrize(
    ("constraint", "part"),
    [
        (sampling_pb2.Constraint(), "constraint.kind: must have"),
        (sampling_pb2.Constraint(json_object=False), "constraint.json_object: must be true"),
        (sampling_pb2.Constraint(json_schema="{" * 70_000), "constraint.json_schema: must have"),
        (sampling_pb2.Constraint(json_schema=""), "constraint.json_schema: must have"),
        (sampling_pb2.Constraint(regex="a" * 5_000), "constraint.regex: must have"),
        (sampling_pb2.Constraint(ebnf="#" * 1_000_000), "constraint.ebnf: must have"),
        (choice(), "constraint.choice.values: must have"),
        (choice(*["a"] * 300), "constraint.choice.values: must have"),
        (choice("a", ""), "constraint.choice.values[1]: must have"),
    ],
)
def test_shape_of_a_constraint(constraint: sampling_pb2.Constraint, part: str) -> None:
    """What the proto says of a constraint is refused by its field, before it is tried."""
    with pytest.raises(InvalidRequest) as refused:
        validate(generate(constraint=constraint))
    assert part in refused.value.message


def test_many_violations_are_bounded() -> None:
    """However many fields are wrong, an error names 16 at most: trailers are small."""
    with pytest.raises(InvalidRequest) as refused:
        validate(chat(*[message(chat_pb2.ROLE_UNSPECIFIED)] * 100))
    assert len(refused.value.violations) == 16


@pytest.mark.parametrize("field", CLAMPED_RANGES)
def test_clamp_moves_values_to_where_the_proto_begins_to_refuse(field: str) -> None:
    """The range that values are clamped to is the range that the proto takes without clamp."""
    low, high = CLAMPED_RANGES[field]
    step = 1 if field == "top_k" else 0.0001
    validate(sampling(**{field: low}))
    validate(sampling(**{field: high}))
    for outside in (low - step, high + step):
        with pytest.raises(InvalidRequest) as caught:
            validate(sampling(**{field: outside}))
        assert [name for name, _ in caught.value.violations] == [f"sampling.{field}"]


def test_every_range_of_the_proto_is_clamped() -> None:
    """A value that the proto refuses unless it is clamped has a range to be clamped to."""
    rules = sampling_pb2.Sampling.DESCRIPTOR.GetOptions().Extensions[validate_pb2.message].cel
    named = {rule.id.removesuffix(".range") for rule in rules if "this.clamp" in rule.expression}
    assert named == set(CLAMPED_RANGES)


def test_long_lists_are_refused_before_anything_looks_at_their_items() -> None:
    """A list over its bound is all that is named, though its items break rules, too."""
    empty = chat_pb2.Message()
    with pytest.raises(InvalidRequest) as caught:
        validate(inference_pb2.ChatRequest(messages=[empty] * 1025))
    assert list(caught.value.violations) == [("messages", "must have at most 1024 items, got 1025")]
    parts = [chat_pb2.ContentPart()] * 257
    with pytest.raises(InvalidRequest) as caught:
        validate(chat(message(chat_pb2.ROLE_USER), message(chat_pb2.ROLE_USER, content=parts)))
    assert list(caught.value.violations) == [
        ("messages[1].content", "must have at most 256 items, got 257")
    ]
