"""JSON of `/api` to and from messages."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.api.json_codec import (
    decode_chat,
    decode_completions,
    decode_generate,
    encode_completions,
    encode_model,
)
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.openai.json_codec import (
    AnswerHead,
    completion_choice,
    completion_usage,
)
from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, models_pb2

FLOAT32_MAX = 3.5e38


def completions(**fields: Any) -> Any:
    """Decodes a completion with the two required fields and more."""
    return decode_completions({"model": "m", "prompt": "p", **fields}, is_stream=False)


def test_generate_is_an_instruction() -> None:
    """The prompt goes out as an instruction, in one message, with values to clamp."""
    request = decode_generate({"model": "m", "prompt": "p"}, is_stream=False)
    assert (request.model, request.text, request.as_instruction) == ("m", "p", True)
    assert request.delivery == events_pb2.DELIVERY_FINAL
    assert request.sampling.clamp
    assert not request.HasField("suffix")


def test_a_stream_of_an_instruction_waits_for_no_turn() -> None:
    """Its stream is the same instruction in deltas, with or without `stream` in the body."""
    for body in ({"model": "m", "prompt": "p"}, {"model": "m", "prompt": "p", "stream": True}):
        request = decode_generate(body, is_stream=True)
        assert request.as_instruction
        assert request.delivery == events_pb2.DELIVERY_DELTAS
        assert request.HasField("max_queue_wait")
        assert not request.max_queue_wait.ToTimedelta()
    with pytest.raises(EdgeError, match=r"use /api/generate/stream$"):
        decode_generate({"model": "m", "prompt": "p", "stream": True}, is_stream=False)


def test_what_is_absent_stays_unset() -> None:
    """Defaults belong to the server: an absent field is not set, and neither is a null."""
    for request in (completions(), completions(temperature=None, max_tokens=None, stop=None)):
        assert [field.name for field, _ in request.sampling.ListFields()] == ["clamp"]


def test_zero_is_not_absent() -> None:
    """Zeros are values."""
    sampling = completions(temperature=0, top_p=0, max_tokens=0, seed=0).sampling
    assert all(sampling.HasField(n) for n in ("temperature", "top_p", "max_tokens", "seed"))


def test_every_sampling_field() -> None:
    """Each sampling field of the dialect reaches the field of its name."""
    values: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.25,
        "min_p": 0.125,
        "top_k": 7,
        "seed": 4294967295,
        "repetition_penalty": 1.5,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.5,
        "max_tokens": 9,
        "min_tokens": 3,
    }
    sampling = completions(**values, stop=["a", "b"], logit_bias={"5": -1.5, "6": 2}).sampling
    assert {name: getattr(sampling, name) for name in values} == values
    assert list(sampling.stop) == ["a", "b"]
    assert dict(sampling.logit_bias) == {5: -1.5, 6: 2.0}


def test_one_stop_string_is_a_list_of_one() -> None:
    """OpenAI's clients may send one string."""
    assert list(completions(stop="end").sampling.stop) == ["end"]


@pytest.mark.parametrize(("given", "sent"), [(10**30, 2**31 - 1), (-(10**30), -(2**31))])
def test_integers_fit_the_message(given: int, sent: int) -> None:
    """Integers beyond the message's range are moved into it; the server clamps or refuses them."""
    assert completions(max_tokens=given).sampling.max_tokens == sent
    assert completions(max_tokens=float(given)).sampling.max_tokens == sent


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON has one kind of number, and its schemas take 64.0 for an integer."""
    sampling = completions(max_tokens=64.0, seed=7.0).sampling
    assert (sampling.max_tokens, sampling.seed) == (64, 7)


@pytest.mark.parametrize("given", [1e300, -1e300])
def test_numbers_fit_the_message(given: float) -> None:
    """Numbers beyond a 32-bit float stay finite."""
    assert abs(completions(temperature=given).sampling.temperature) < FLOAT32_MAX


@pytest.mark.parametrize("other", [{}, {"max_tokens": None}, {"max_tokens": 7}])
def test_max_completion_tokens_is_max_tokens(other: dict[str, Any]) -> None:
    """OpenAI's newer name for the same number, alone or beside an equal one."""
    assert completions(max_completion_tokens=7, **other).sampling.max_tokens == 7
    assert completions(max_completion_tokens=None, max_tokens=3).sampling.max_tokens == 3
    assert completions(max_completion_tokens=0).sampling.HasField("max_tokens")


def test_two_different_maxima_are_refused() -> None:
    """OpenAI refuses both at once; here equal ones pass, since some clients always send both."""
    message = r"^max_completion_tokens: must equal max_tokens \(5\) where both are set, got 7$"
    with pytest.raises(EdgeError, match=message):
        completions(max_completion_tokens=7, max_tokens=5)
    with pytest.raises(EdgeError, match="max_completion_tokens: must be an integer, got a string"):
        completions(max_completion_tokens="7")
    message = "^max_completion_tokens: must be greater than or equal to 0, got -1$"
    with pytest.raises(EdgeError, match=message):
        completions(max_completion_tokens=-1)


@pytest.mark.parametrize("off", ["", None, []])
def test_stop_that_stops_nothing_is_off(off: object) -> None:
    """An empty `stop` of any kind asks for nothing: many interfaces send the field always."""
    assert not completions(stop=off).sampling.stop


def test_a_suffix_is_passed_on() -> None:
    """A suffix is passed on; an empty one, which some clients always send, is none."""
    assert completions(suffix="s").suffix == "s"
    assert not completions(suffix="").HasField("suffix")


def test_chat_messages() -> None:
    """Messages keep their order, roles and text."""
    messages = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "c", "name": "ignored"},
    ]
    request = decode_chat({"model": "m", "messages": messages}, is_stream=True)
    assert [message.role for message in request.messages] == [
        chat_pb2.ROLE_SYSTEM,
        chat_pb2.ROLE_USER,
        chat_pb2.ROLE_ASSISTANT,
    ]
    assert [message.content[0].text for message in request.messages] == ["a", "", "c"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            models_pb2.Model(
                id="TheBloke/Llama-2-7B-GGUF:llama-2_7b.Q4.gguf", num_parameters=7 * 10**9
            ),
            {
                "name": "Llama 2 7B GGUF:llama 2 7b.Q4.gguf",
                "description": "LLM model: TheBloke/Llama-2-7B-GGUF:llama-2_7b.Q4.gguf"
                " (GGUF quantized)",
                "size": "7B",
                "capabilities": ["text-generation"],
            },
        ),
        (
            models_pb2.Model(
                id="owner/Tiny-1.1B-GPTQ",
                num_parameters=1_100_048_384,
                capabilities=models_pb2.ModelCapabilities(chat=True),
            ),
            {
                "name": "Tiny 1.1B GPTQ",
                "description": "LLM model: owner/Tiny-1.1B-GPTQ (GPTQ quantized)",
                "size": "1.1B",
                "capabilities": ["text-generation", "chat"],
            },
        ),
        (
            models_pb2.Model(id="owner/plain"),
            {
                "name": "plain",
                "description": "LLM model: owner/plain",
                "capabilities": ["text-generation"],
            },
        ),
        (
            models_pb2.Model(id="o/Big-GGUF:big-8x7b.gguf@tok/repo", format="gguf"),
            {
                "name": "Big GGUF:big 8x7b.gguf",
                "description": "LLM model: o/Big-GGUF:big-8x7b.gguf@tok/repo (GGUF quantized)",
                "size": "8x7B",
                "capabilities": ["text-generation"],
            },
        ),
    ],
    ids=lambda value: value.id if isinstance(value, models_pb2.Model) else "",
)
def test_model_objects(model: models_pb2.Model, expected: dict[str, Any]) -> None:
    """Name, description and size are told as the old service told them."""
    assert encode_model(model) == {"id": model.id, **expected}


def test_an_answer_holds_both_dialects() -> None:
    """The four fields of `/api` stand beside those of OpenAI, and say the same."""
    end = events_pb2.ChoiceFinished(finish_reason=events_pb2.FINISH_REASON_EOS)
    usage = events_pb2.Usage(
        num_prompt_tokens=3, num_completion_tokens=2, num_cached_prompt_tokens=1
    )
    finished = events_pb2.Finished(
        usage=usage,
        started=events_pb2.Started(model="m", model_revision="llm-a 1.2"),
        choices=[events_pb2.Choice(text="a", finished=end)],
    )
    assert encode_completions(AnswerHead.of_completion("r1", 1767225600), finished) == {
        "text": "a",
        "model": "m",
        "tokens_generated": 2,
        "finish_reason": "eos",
        "id": "cmpl-r1",
        "object": "text_completion",
        "created": 1767225600,
        "system_fingerprint": "fp_llm-a_1.2",
        "choices": [completion_choice("a", end)],
        "usage": completion_usage(usage),
    }
