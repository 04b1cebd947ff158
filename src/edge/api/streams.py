"""The events of the stream routes of `/api`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ...generated.tokenwire.v1 import events_pb2
from ..errors import Failure, api_body, api_text
from ..sse import Event, data_event
from .completions import CompletionHead, completion_choice, completion_usage
from .json_codec import finish_reason

_DONE = b"data: [DONE]\n\n"


class _ApiStream(ABC):
    """Splits a stream into its deltas and its end."""

    def __init__(self) -> None:
        self._model = ""
        self._finish_reason = ""

    def encode(self, event: Event) -> bytes:
        """Returns one event for every text delta, and one for the end."""
        kind = event.WhichOneof("event")
        if kind == "deltas":
            return b"".join(self._deltas(event.deltas))
        if kind == "started":
            self._model = event.started.model
        elif kind == "finished":
            return self._end(event.finished)
        return b""

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the one event that ends a failed stream."""
        return data_event(api_body(failure))

    def _deltas(self, deltas: events_pb2.Deltas) -> list[bytes]:
        encoded: list[bytes] = []
        for delta in deltas.deltas:
            kind = delta.WhichOneof("kind")
            if kind == "text" and delta.text.text:
                encoded.append(data_event(self._delta(delta.text.text)))
            elif kind == "finished":
                self._finish_reason = finish_reason(delta.finished)
        return encoded

    @abstractmethod
    def _delta(self, text: str) -> dict[str, Any]: ...

    def _end(self, finished: events_pb2.Finished) -> bytes:
        return data_event(self._closing(finished))

    def _closing(self, finished: events_pb2.Finished) -> dict[str, Any]:
        return {
            "done": True,
            "finish_reason": self._finish_reason,
            "tokens_generated": finished.usage.num_completion_tokens,
            "model": self._model,
        }


class ChatStream(_ApiStream):
    """`/api/chat/stream`: `{"content"}` for every delta."""

    def _delta(self, text: str) -> dict[str, Any]:
        return {"content": text}


class CompletionsStream(_ApiStream):
    """`/api/completions/stream`: `{"text"}` for every delta, and OpenAI's choices beside it."""

    def _delta(self, text: str) -> dict[str, Any]:
        return {"text": text, "choices": [completion_choice(text, None)]}

    def _closing(self, finished: events_pb2.Finished) -> dict[str, Any]:
        choices = [completion_choice("", self._finish_reason)]
        return {**super()._closing(finished), "choices": choices}


class OpenAiStream(_ApiStream):
    """`/api/completions` with `"stream": true`: OpenAI's own events, ended by `[DONE]`."""

    def __init__(self, head: CompletionHead, *, includes_usage: bool) -> None:
        super().__init__()
        self._head = head.fields()
        self._includes_usage = includes_usage

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the event that OpenAI's clients raise; no `[DONE]` follows."""
        code = failure.traits.rest_code
        return data_event(
            {"error": {"message": api_text(failure), "type": code.lower(), "code": code}}
        )

    def _delta(self, text: str) -> dict[str, Any]:
        return self._chunk([completion_choice(text, None)])

    def _end(self, finished: events_pb2.Finished) -> bytes:
        last = data_event(self._chunk([completion_choice("", self._finish_reason)]))
        if self._includes_usage:
            usage = {**self._chunk([]), "usage": completion_usage(finished.usage)}
            last += data_event(usage)
        return last + _DONE

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "model": self._model, "choices": choices}
