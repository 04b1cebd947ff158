"""From the events of `/completion` to the events of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...engine import Accepted, Delta, EngineEvent, Finished, FinishReason, Prefill
from ...errors import GenerationFailed
from .client import Json

# The last event would otherwise repeat the prompt and every setting.
RESPONSE_FIELDS: Final = (
    "stop", "stop_type", "stopping_word", "content", "tokens_predicted", "timings/cache_n",
)  # fmt: skip

_REASONS: Final = {
    "eos": FinishReason.EOS,
    "limit": FinishReason.LENGTH,
    "word": FinishReason.STOP,
}


class StreamReader:
    """Reads one stream in order."""

    def __init__(self) -> None:
        self.is_finished = False
        self._is_accepted = False
        self._num_told_tokens = 0

    def read(self, event: Json) -> Iterator[EngineEvent]:
        """Translates one event into none, one or several.

        Raises:
            GenerationFailed: the event tells of an error.
        """
        if "error" in event:
            raise GenerationFailed("the engine failed this request")
        progress = event.get("prompt_progress")
        if not self._is_accepted:
            self._is_accepted = True
            yield Accepted(progress["cache"] if progress else None)
        if progress:
            yield Prefill(progress["processed"], progress["total"])
            return
        num_tokens: int = event["tokens_predicted"]
        text: str = event["content"]
        # Text may be held back for a stop string or an unfinished character: its tokens are told
        # with the text that they end up in.
        if text:
            yield Delta(text, num_tokens - self._num_told_tokens)
            self._num_told_tokens = num_tokens
        if event["stop"]:
            yield self._finished(event, num_tokens)

    def _finished(self, event: Json, num_tokens: int) -> Finished:
        reason = _REASONS.get(event["stop_type"])
        if reason is None:
            raise GenerationFailed("the engine ended this request without a reason")
        self.is_finished = True
        return Finished(
            reason=reason,
            num_completion_tokens=num_tokens,
            num_cached_prompt_tokens=event["timings/cache_n"],
            matched=event["stopping_word"] if reason is FinishReason.STOP else None,
        )
