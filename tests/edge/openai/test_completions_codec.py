"""OpenAI's completions, to and from messages."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.openai.completions_codec import (
    MAX_PROMPTS,
    CompletionsAsked,
    decode_completions,
    encode_completions,
)
from tokenwire.edge.openai.json_codec import AnswerHead
from tokenwire.generated.tokenwire.v1.events_pb2 import (
    DELIVERY_DELTAS,
    FINISH_REASON_EOS,
    FINISH_REASON_LENGTH,
    Choice,
    ChoiceFinished,
    Finished,
    PromptTokenLogprob,
    Started,
    TokenLogprob,
    Usage,
)


def decode(prompt: Any = "x", **fields: Any) -> CompletionsAsked:
    return decode_completions({"model": "m", "prompt": prompt, **fields})


@pytest.mark.parametrize(
    ("prompt", "texts", "ids"),
    [
        ("x", ["x"], []),
        (["x"], ["x"], []),
        (["x", "y"], ["x", "y"], []),
        ([1, 2], [], [[1, 2]]),
        ([[1, 2], [3]], [], [[1, 2], [3]]),
        (["x"] * 16, ["x"] * 16, []),
    ],
)
def test_prompts(prompt: Any, texts: list[str], ids: list[list[int]]) -> None:
    """Text or token ids, one or several: a call for each."""
    requests = decode(prompt, n=2, suffix=None).requests
    assert [request.text for request in requests if request.text] == texts
    assert [list(r.token_ids.ids) for r in requests if r.HasField("token_ids")] == ids
    assert {(request.model, request.sampling.n) for request in requests} == {("m", 2)}


@pytest.mark.parametrize("prompt", ["x", [1]])
def test_prompts_at_their_limit_and_above(prompt: Any) -> None:
    """Sixteen are as many calls; of one more nothing is asked."""
    assert len(decode([prompt] * MAX_PROMPTS).requests) == 16
    with pytest.raises(EdgeError, match="prompt: must have at most 16 items, got 17"):
        decode([prompt] * (MAX_PROMPTS + 1))


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        (None, "prompt: is required and must be a string, token ids, or an array of them"),
        (7, "prompt: must be a string, token ids, or an array of them, got an integer"),
        ([], "prompt: must have at least 1 item, got 0"),
        (["x"] * 17, "prompt: must have at most 16 items, got 17"),
        (["x", 1], "prompt[1]: must be a string as the first one is, got 1"),
        ([1, "x"], "prompt[1]: must be the id of a token, got a string"),
        ([1, True], "prompt[1]: must be the id of a token, got true"),
        ([1, 2**32], "prompt[1]: must be the id of a token, got 4294967296"),
        ([None], "prompt[0]: must be the id of a token, got null"),
        ([[1], "x"], "prompt[1]: must be an array of token ids, got a string"),
        ([[1], [1.5]], "prompt[1][0]: must be the id of a token, got 1.5"),
    ],
)
def test_what_is_no_prompt_is_named(prompt: Any, error: str) -> None:
    """By its index."""
    with pytest.raises(EdgeError) as caught:
        decode(prompt)
    assert caught.value.message.startswith(error)


def test_other_fields() -> None:
    """Log-probabilities are a number here; an empty suffix is none."""
    asked = decode(suffix="end", logprobs=0, echo=False, best_of=1, stream=True)
    request = asked.requests[0]
    assert (request.suffix, request.delivery) == ("end", DELIVERY_DELTAS)
    assert request.sampling.HasField("logprobs")
    assert asked.is_stream
    empty = decode(suffix="", logprobs=None).requests[0]
    assert not empty.HasField("suffix")
    assert not empty.sampling.HasField("logprobs")
    assert not decode(logprobs=False).requests[0].sampling.HasField("logprobs")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"logprobs": True}, "logprobs: must be an integer here"),
        ({"best_of": 2}, "best_of: must equal n where it is set, got 2"),
        ({"best_of": 1, "n": 2}, "best_of: must equal n where it is set, got 1"),
        ({"messages": [{}]}, "messages: is not supported here, got an array; it belongs to /v1/c"),
        ({"tools": [{}]}, "tools: is not supported here"),
    ],
)
def test_what_cannot_be_honoured_is_named(fields: dict[str, Any], error: str) -> None:
    """With what to do."""
    with pytest.raises(EdgeError) as caught:
        decode(**fields)
    assert caught.value.message.startswith(error)


def test_choices_are_numbered_through() -> None:
    """Prompt times n plus choice; each begins with its echo, and the tokens are summed."""
    asked = decode(["x", "y"], n=2, echo=True)
    end = ChoiceFinished(finish_reason=FINISH_REASON_LENGTH)
    answers = [
        Finished(
            started=Started(model="m"),
            usage=Usage(num_prompt_tokens=1, num_completion_tokens=2, num_cached_prompt_tokens=1),
            choices=[Choice(choice=i, text=f"{i}", finished=end) for i in (0, 1)],
        )
        for _ in asked.requests
    ]
    assert encode_completions(AnswerHead.of_completion("r1", 7), asked, answers, ["x", "y"]) == {
        "id": "cmpl-r1",
        "object": "text_completion",
        "created": 7,
        "model": "m",
        "system_fingerprint": None,
        "choices": [
            {"text": text, "index": index, "finish_reason": "length", "logprobs": None}
            for index, text in enumerate(("x0", "x1", "y0", "y1"))
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 4,
            "total_tokens": 6,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


def test_logprobs_stand_in_their_choice() -> None:
    """Where they are asked for."""
    choice = Choice(text="a", logprobs=[TokenLogprob(text=b"a", logprob=-1)])
    choice.finished.finish_reason = FINISH_REASON_LENGTH
    answers = [Finished(choices=[choice])]
    encoded = encode_completions(
        AnswerHead.of_completion("r1", 7), decode(logprobs=0), answers, [""]
    )
    assert encoded["choices"][0]["logprobs"]["tokens"] == ["a"]


@pytest.mark.parametrize("num_top", [0, 5])
def test_logprobs_with_an_echo_are_those_of_the_prompt_as_well(num_top: int) -> None:
    """As many of both, and what the front refuses of the prompt's is named as it was sent."""
    asked = decode(["x", "y"], logprobs=num_top, echo=True)
    for request in asked.requests:
        assert (request.sampling.logprobs, request.sampling.prompt_logprobs) == (num_top, num_top)
        assert request.sampling.HasField("prompt_logprobs")
    assert asked.names.name_of("sampling.prompt_logprobs") == "logprobs"
    without = decode(logprobs=num_top).requests[0].sampling
    assert not without.HasField("prompt_logprobs")
    assert not decode(echo=True).requests[0].sampling.HasField("prompt_logprobs")


def test_scored_prompt() -> None:
    """What lm-evaluation-harness reads: the prompt comes first, with null of its first token."""
    asked = decode("Hi you", echo=True, logprobs=1, max_tokens=1)
    top = TokenLogprob.TopLogprob
    choice = Choice(text="!", logprobs=[TokenLogprob(text=b"!", logprob=-1)])
    choice.finished.finish_reason = FINISH_REASON_LENGTH
    prompt = [
        PromptTokenLogprob(text=b"Hi"),
        PromptTokenLogprob(text=b" you", logprob=-2, top=[top(text=b" all", logprob=-0.5)]),
    ]
    answers = [Finished(choices=[choice], prompt_logprobs=prompt)]
    encoded = encode_completions(AnswerHead.of_completion("r1", 7), asked, answers, ["Hi you"])
    assert encoded["choices"][0] == {
        "text": "Hi you!",
        "index": 0,
        "finish_reason": "length",
        "logprobs": {
            "tokens": ["Hi", " you", "!"],
            "token_logprobs": [None, -2.0, -1.0],
            "top_logprobs": [None, {" you": -2.0, " all": -0.5}, {"!": -1.0}],
            "text_offset": [0, 2, 6],
        },
    }


def test_scored_prompt_whose_answer_ends_at_once() -> None:
    """The lists have one token behind the prompt's, whichever it is: programs cut it off."""
    choice = Choice(text="")
    choice.finished.finish_reason = FINISH_REASON_EOS
    prompt = [PromptTokenLogprob(text=b"Hi"), PromptTokenLogprob(text=b".", logprob=-2)]
    answers = [Finished(choices=[choice], prompt_logprobs=prompt)]
    head = AnswerHead.of_completion("r1", 7)
    asked = decode("Hi.", echo=True, logprobs=1, max_tokens=1)
    lists = encode_completions(head, asked, answers, ["Hi."])["choices"][0]["logprobs"]
    assert lists["token_logprobs"][:-1] == [None, -2.0]
    assert lists["text_offset"] == [0, 2, 3]
    plain = decode("Hi.", logprobs=1, max_tokens=1)
    answers[0].ClearField("prompt_logprobs")
    encoded = encode_completions(head, plain, answers, [""])
    assert encoded["choices"][0]["logprobs"]["tokens"] == []
