"""The events of the stream routes of `/api`."""

from __future__ import annotations

from typing import Any

from ...generated.tokenwire.v1 import events_pb2
from ..errors import Failure
from ..openai.json_codec import completion_choice
from ..sse import TextStream, data_event
from .errors import error_body
from .json_codec import finish_reason


class ChatStream(TextStream):
    """`/api/chat/stream`: `{"content"}` for every delta.

    `finish_reason` is why the text ended, where a stream before told that.
    """

    def __init__(
        self,
        finish_reason: events_pb2.FinishReason.ValueType = events_pb2.FINISH_REASON_UNSPECIFIED,
    ) -> None:
        super().__init__()
        self._ended.finish_reason = finish_reason

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the one event that ends a failed stream."""
        return data_event(error_body(failure))

    def _encode_text(self, text: str) -> bytes:
        return data_event({"content": text})

    def _encode_end(self, finished: events_pb2.Finished) -> bytes:
        return data_event(self._closing(finished))

    @property
    def _told_end(self) -> events_pb2.ChoiceFinished | None:
        # A stream of another dialect may have told it before, with an id that does not say why.
        return self._ended if self._ended.finish_reason else None

    def _closing(self, finished: events_pb2.Finished) -> dict[str, Any]:
        end = self._told_end
        return {
            "done": True,
            "finish_reason": None if end is None else finish_reason(end),
            "tokens_generated": finished.usage.num_completion_tokens,
            "model": self._model,
        }


class GenerateStream(ChatStream):
    """`/api/generate/stream`: `{"text"}` for every delta."""

    def _encode_text(self, text: str) -> bytes:
        return data_event({"text": text})


class CompletionsStream(ChatStream):
    """`/api/completions/stream`: `{"text"}` for every delta, and OpenAI's choices beside it."""

    def _encode_text(self, text: str) -> bytes:
        return data_event({"text": text, "choices": [completion_choice(text)]})

    def _closing(self, finished: events_pb2.Finished) -> dict[str, Any]:
        choices = [completion_choice("", self._told_end)]
        return {**super()._closing(finished), "choices": choices}
