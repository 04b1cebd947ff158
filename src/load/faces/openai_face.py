"""The OpenAI door: of the service, and of every other server that has one."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from .exchange import Exchange
from .face import LoadRequest, RequestFailed, Sending, Task
from .http_face import HttpSession, first_id, open_http, read_event

_DONE = b"[DONE]"
_PATHS = {Task.CHAT: "/chat/completions", Task.COMPLETION: "/completions"}
_TEXTS = ("content", "reasoning_content", "reasoning")


@asynccontextmanager
async def open_openai_face(
    url: str, tls: ssl.SSLContext | None = None, api_key: str = ""
) -> AsyncGenerator[OpenAiFace]:
    """Opens a session for the time of the block. `url` without a path: that with `/v1`."""
    base = url.rstrip("/")
    if base.count("/") == 2:
        base += "/v1"
    async with open_http(base, tls, api_key) as session:
        yield OpenAiFace(session)


class OpenAiFace:
    """Calls `/v1/chat/completions` or `/v1/completions`, and asks for the usage."""

    name = "openai"

    def __init__(self, session: HttpSession) -> None:
        self._session = session
        self.address = session.base

    async def find_model(self) -> str:
        """Returns the first model of the list."""
        answer = await self._session.get("/models")
        is_object = isinstance(answer, dict)
        return first_id(cast("dict[str, Any]", answer).get("data") if is_object else answer)

    async def count_prompt(self, sending: Sending, prompt: str) -> int | None:
        """Returns the prompt tokens of a request for one token, where the server tells usage."""
        exchange = Exchange(lambda: 0.0, 0.0)
        await self.send(sending, LoadRequest(prompt, 1, 0), exchange)
        return exchange.told_prompt_tokens

    async def send(self, sending: Sending, request: LoadRequest, exchange: Exchange) -> None:
        """Sends a request, and notes each event with output in it."""
        is_ended = False
        events = self._session.events(
            _PATHS[sending.task], _body(sending, request), sending.timeout_s
        )
        async with aclosing(events):
            async for arrived in events:
                for data in arrived:
                    if data == _DONE:
                        is_ended = True
                        continue
                    event = read_event(data)
                    is_ended |= _note(event, exchange)
        if not is_ended:
            raise RequestFailed("cut", "the stream ended before its last event")


def _body(sending: Sending, request: LoadRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": sending.model,
        "max_tokens": request.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sending.task is Task.CHAT:
        body["messages"] = [{"role": "user", "content": request.prompt}]
    else:
        body["prompt"] = request.prompt
    if sending.ignores_eos:
        body["ignore_eos"] = True
    if sending.temperature is not None:
        body["temperature"] = sending.temperature
    return body


def _note(event: dict[str, Any], exchange: Exchange) -> bool:
    """Notes what one event holds; returns whether it ends the choice."""
    usage: dict[str, Any] | None = event.get("usage")
    if usage:
        details: dict[str, Any] = usage.get("prompt_tokens_details") or {}
        exchange.note_usage(
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
            details.get("cached_tokens"),
        )
    is_ended = False
    choices: list[dict[str, Any]] = event.get("choices") or []
    for choice in choices:
        delta: dict[str, Any] = choice.get("delta") or {}
        if choice.get("text") or any(delta.get(name) for name in _TEXTS):
            exchange.note_output()
        is_ended |= choice.get("finish_reason") is not None
    return is_ended
