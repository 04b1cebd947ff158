"""The events of OpenAI's streams, ended by `[DONE]`."""

from __future__ import annotations

from typing import Any

from ...generated.tokenwire.v1 import events_pb2
from ..errors import Failure
from ..sse import TextStream, data_event
from .errors import error_body
from .json_codec import CompletionHead, completion_choice, completion_usage

_DONE = b"data: [DONE]\n\n"


class CompletionStream(TextStream):
    """A completion in chunks, and on request its usage behind them."""

    def __init__(self, head: CompletionHead, *, includes_usage: bool) -> None:
        super().__init__()
        self._head = head.fields()
        self._includes_usage = includes_usage

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the event that OpenAI's clients raise; no `[DONE]` follows."""
        return data_event(error_body(failure))

    def _encode_text(self, text: str) -> bytes:
        return data_event(self._chunk(completion_choice(text)))

    def _encode_end(self, finished: events_pb2.Finished) -> bytes:
        last = data_event(self._chunk(completion_choice("", self._ended)))
        if self._includes_usage:
            last += data_event({**self._chunk(), "usage": completion_usage(finished.usage)})
        return last + _DONE

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        return {**self._head, "model": self._model, "choices": choices}
