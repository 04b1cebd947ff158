"""The door `/api` of the service."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from .exchange import Exchange
from .face import LoadRequest, RequestFailed, Sending, Task
from .http_face import HttpSession, first_id, open_http, read_event

_PATHS = {Task.CHAT: "/api/chat/stream", Task.COMPLETION: "/api/completions/stream"}


@asynccontextmanager
async def open_rest_face(
    url: str, tls: ssl.SSLContext | None = None, api_key: str = ""
) -> AsyncGenerator[RestFace]:
    """Opens a session for the time of the block."""
    async with open_http(url.rstrip("/").removesuffix("/api"), tls, api_key) as session:
        yield RestFace(session)


class RestFace:
    """Calls `/api/chat/stream` or `/api/completions/stream`.

    They never wait for a slot, and take no `ignore_eos`: an answer may be shorter than asked for.
    """

    name = "rest"

    def __init__(self, session: HttpSession) -> None:
        self._session = session
        self.address = f"{session.base}/api"

    async def find_model(self) -> str:
        """Returns the first model of the list."""
        return first_id(await self._session.get("/api/llms"))

    async def count_prompt(self, sending: Sending, prompt: str) -> int | None:
        """Returns the prompt tokens, from the canonical route beside this door."""
        question: dict[str, Any] = {"generate": {"model": sending.model, "text": prompt}}
        if sending.task is Task.CHAT:
            messages = [{"role": "ROLE_USER", "content": [{"text": prompt}]}]
            question = {"chat": {"model": sending.model, "messages": messages}}
        try:
            answer = await self._session.post("/tokenwire/v1/count_tokens", question)
        except RequestFailed:
            return None  # not there, or an engine without a tokenizer: requests will tell
        return int(answer["numPromptTokens"])

    async def send(self, sending: Sending, request: LoadRequest, exchange: Exchange) -> None:
        """Sends a request, and notes each event with output in it."""
        body: dict[str, Any] = {"model": sending.model, "max_tokens": request.max_tokens}
        if sending.task is Task.CHAT:
            body["messages"] = [{"role": "user", "content": request.prompt}]
        else:
            body["prompt"] = request.prompt
        if sending.temperature is not None:
            body["temperature"] = sending.temperature
        is_ended = False
        events = self._session.events(_PATHS[sending.task], body, sending.timeout_s)
        async with aclosing(events):
            async for arrived in events:
                for data in arrived:
                    event = read_event(data)
                    if event.get("content") or event.get("text"):
                        exchange.note_output()
                    if event.get("done"):
                        exchange.note_usage(None, event.get("tokens_generated"))
                        is_ended = True
        if not is_ended:
            raise RequestFailed("cut", "the stream ended before its last event")
