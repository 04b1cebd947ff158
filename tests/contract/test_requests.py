"""What requests hold, and what of it reaches the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenwire.server.contract.prompts import ChatPrompt, InfillPrompt, TextPrompt

from ..server.scripted_engine import ScriptedEngine
from ..surroundings import MODEL_ID
from .real_service import ALTERNATING, RealService
from .stage import CHAT, PROMPT, Stage, start_stage

SAMPLING = {"temperature": 0.5, "top_p": 0.25, "max_tokens": 3, "stop": ["x", "y"]}
HELPFUL = "You are a helpful assistant."


@pytest.mark.parametrize(
    ("path", "body"), [("/api/generate", PROMPT), ("/api/chat", CHAT), ("/api/completions", PROMPT)]
)
async def test_sampling_fields(shared_stage: Stage, path: str, body: dict[str, Any]) -> None:
    """All of them reach the engine.

    > A generate request has `model`, `prompt`, `temperature`, `top_p`, `max_tokens` and `stop`.

    > A chat request has `model`, `messages` of `role` and `content`, and the same sampling fields.

    > A completions request has `model`, `prompt`, `suffix`, and the same sampling fields.
    """
    await shared_stage.post(path, {**body, **SAMPLING})
    params = shared_stage.params
    assert (params.temperature, params.top_p, params.max_tokens) == (0.5, 0.25, 3)
    assert params.stop == ("x", "y")


async def test_defaults() -> None:
    """Absent and null are the same.

    > Every field but `model` and the prompt is optional, and null counts as absent.

    > Absent sampling fields take `LLM_DEFAULT_TEMPERATURE`, `LLM_DEFAULT_TOP_P` and
    > `LLM_DEFAULT_MAX_TOKENS`.
    """
    async with start_stage(
        LLM_DEFAULT_TEMPERATURE="0.3", LLM_DEFAULT_TOP_P="0.6", LLM_DEFAULT_MAX_TOKENS="4"
    ) as stage:
        for absent in ({}, dict.fromkeys((*SAMPLING, "suffix"))):
            await stage.post(
                "/api/completions", {"model": PROMPT["model"], "prompt": "a", **absent}
            )
            params = stage.params
            assert (params.temperature, params.top_p, params.max_tokens) == (0.3, 0.6, 4)
            assert params.stop == ()


async def test_clamps() -> None:
    """What is too much or too little is answered with the nearest that is taken.

    > Values out of range are clamped, not refused: `temperature` to 0.0-2.0, `top_p` to 0.0-1.0,
    > `max_tokens` to `LLM_MAX_TOKENS_LIMIT`.
    """
    async with start_stage(LLM_MAX_TOKENS_LIMIT="5") as stage:
        for given, name, used in (
            ({"temperature": 2.5}, "temperature", 2.0),
            ({"temperature": -1}, "temperature", 0.0),
            ({"top_p": 7}, "top_p", 1.0),
            ({"top_p": -1}, "temperature", 0.0),  # keeps the likeliest token alone: greedy
            ({"max_tokens": 10**9}, "max_tokens", 5),
        ):
            await stage.post("/api/generate", {**PROMPT, **given})
            assert getattr(stage.params, name) == used


async def test_a_negative_number_of_tokens(shared_stage: Stage) -> None:
    """No answer has fewer tokens than none.

    > A negative `max_tokens` alone is refused.
    """
    body = await shared_stage.post("/api/chat", {**CHAT, "max_tokens": -1}, 400)
    assert body["error"].startswith("Bad request: max_tokens: ")


async def test_stop_strings(service: RealService) -> None:
    """An answer is cut at its second word, also where that is made of several tokens.

    > `stop` is honoured, and neither a stop string nor part of one is ever in the text.
    """
    request = {"model": MODEL_ID, "prompt": "One, two, three,"}
    text = (await service.post("/api/completions", request))["text"]
    stop = text.split()[1] + " " + text.split()[2]
    body = await service.post("/api/completions", {**request, "stop": ["never", stop]})
    assert body["finish_reason"] == "stop"
    assert body["text"] == text[: text.index(stop)]
    streamed = ""
    async with service.http.post(
        "/api/completions", json={**request, "stop": [stop], "stream": True}
    ) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                streamed += line.decode().split('"text":"', 1)[1].split('"', 1)[0]
    assert streamed == body["text"]


async def test_unknown_fields(shared_stage: Stage) -> None:
    """Callers send labels of their own, and get an answer; what would change it is not ignored.

    > A field that nobody knows is ignored. One of gRPC or OpenAI that a route does not honour, such
    > as `tools`, is refused by name, unless its value asks for nothing.
    """
    await shared_stage.post(
        "/api/chat", {**CHAT, "conversation": 7, "user": "u", "tools": [], "n": 1}
    )
    body = await shared_stage.post("/api/generate", {**PROMPT, "tools": [{}]}, 400)
    assert body["error"] == "Bad request: tools: is not supported here, got an array"


async def test_an_instruction(shared_stage: Stage) -> None:
    """The engine gets a conversation of two messages.

    > `/api/generate` answers the prompt as an instruction: with the chat template, and the system
    > line "You are a helpful assistant."
    """
    await shared_stage.post("/api/generate", PROMPT)
    assert isinstance(shared_stage.prompt, ChatPrompt)
    said = [(message.role.value, message.content) for message in shared_stage.prompt.messages]
    assert said == [("system", HELPFUL), ("user", "Hi")]


async def test_a_continuation(shared_stage: Stage) -> None:
    """The engine gets the text as it is.

    > `/api/completions` continues the text.
    """
    await shared_stage.post("/api/completions", PROMPT)
    assert shared_stage.prompt == TextPrompt("Hi")


async def test_fill_in_the_middle(service: RealService) -> None:
    """The model with marks for it takes three more tokens; that without refuses by name.

    > With `suffix` it fills in the middle, with the model's own tokens for that; a model without
    > them refuses the field.
    """
    body = {"model": ALTERNATING, "prompt": "def f(", "suffix": "return 1"}
    answer = await service.post("/api/completions", body)
    parts = [
        await service.num_prompt_tokens("generate", {"model": ALTERNATING, "text": text})
        for text in ("def f(", "return 1")
    ]
    assert answer["usage"]["prompt_tokens"] == sum(parts) + 3
    refused = await service.post("/api/completions", {**body, "model": MODEL_ID}, 400)
    assert refused["error"].startswith("Bad request: suffix: ")


async def test_both_sides_of_a_gap() -> None:
    """The engine gets what stands before the gap and what stands behind it."""
    engine = ScriptedEngine()
    abilities = replace(engine.info.capabilities, fill_in_the_middle=True)
    engine.info = replace(engine.info, capabilities=abilities)
    async with start_stage(engine) as stage:
        await stage.post("/api/completions", {**PROMPT, "suffix": "end"})
        assert stage.prompt == InfillPrompt("Hi", "end")


async def test_roles(shared_stage: Stage) -> None:
    """The known ones reach the engine in order.

    > Roles are system, user and assistant; others are refused.
    """
    roles = ["system", "user", "assistant", "user"]
    messages = [{"role": role, "content": role} for role in roles]
    await shared_stage.post("/api/chat", {**CHAT, "messages": messages})
    assert isinstance(shared_stage.prompt, ChatPrompt)
    assert [message.role.value for message in shared_stage.prompt.messages] == roles
    for role in ("developer", "tool", "System", ""):
        messages[1] = {"role": role, "content": "x"}
        body = await shared_stage.post("/api/chat", {**CHAT, "messages": messages}, 400)
        assert body["error"].startswith(
            "Bad request: messages[1].role: must be one of system, user"
        )


async def test_neighbours_of_one_role(service: RealService) -> None:
    """Two messages are as many tokens as one with both texts, and elsewhere two turns.

    > Consecutive messages of one role are joined by a blank line where the model's template demands
    > alternation, and only there.
    """

    def of_user(*texts: str) -> list[dict[str, Any]]:
        return [{"role": "ROLE_USER", "content": [{"text": text}]} for text in texts]

    for model, is_joined in ((ALTERNATING, True), (MODEL_ID, False)):
        two, one = [
            await service.num_prompt_tokens("chat", {"model": model, "messages": messages})
            for messages in (of_user("Say a.", "Say b."), of_user("Say a.\n\nSay b."))
        ]
        assert (two == one) is is_joined
        messages = [{"role": "user", "content": text} for text in ("Say a.", "Say b.")]
        answer = await service.post("/api/chat", {"model": model, "messages": messages})
        assert answer["message"]["content"]


@pytest.mark.parametrize("messages", [[], None, "Hi", {}, ["Hi"]])
async def test_no_messages(shared_stage: Stage, messages: object) -> None:
    """A chat of nothing is no chat.

    > There is at least one message.
    """
    for path in ("/api/chat", "/api/chat/stream"):
        body = await shared_stage.post(path, {**CHAT, "messages": messages}, 400)
        assert body["error"].startswith("Bad request: messages")
