"""From the events of `/completion` to the events of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...contract.engine import Delta, EngineEvent, Finished, FinishReason, Prefill, Started
from ...contract.errors import GenerationFailed
from ..stop_matcher import StopMatcher
from .client import Json

# The last event would otherwise repeat the prompt and every setting.
RESPONSE_FIELDS: Final = ("stop", "stop_type", "content", "tokens_predicted")

_REASONS: Final = {"eos": FinishReason.EOS, "limit": FinishReason.LENGTH}


class StreamReader:
    """Reads one stream in order, up to its end or to a stop string.

    `is_finished`: a `Finished` was given out. `has_server_finished`: the server ended the request
    by itself and holds nothing for it any more.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.is_finished = False
        self.has_server_finished = False
        self._matcher = StopMatcher(stops)
        self._num_cached: int | None = None
        self._num_reported_tokens = 0

    def read(self, event: Json) -> Iterator[EngineEvent]:
        """Translates one event into none, one or several.

        Raises:
            GenerationFailed: the event tells of an error.
        """
        if "error" in event:
            raise GenerationFailed("the engine failed this request", detail=str(event["error"]))
        if (progress := event.get("prompt_progress")) is not None:
            if self._num_cached is None:
                self._num_cached = progress["cache"]
                yield Started(self._num_cached)
            yield Prefill(progress["processed"], progress["total"])
            return
        if self._num_cached is None:
            self._num_cached = 0
            yield Started()
        num_tokens: int = event["tokens_predicted"]
        self.has_server_finished = event["stop"]
        passed = self._matcher.push(event["content"], is_last=self.has_server_finished)
        if passed.text:
            yield self._delta(passed.text, num_tokens)
        if passed.matched is not None:
            yield self._finished(FinishReason.STOP, num_tokens, passed.matched)
        elif self.has_server_finished:
            yield self._finished(_reason(event), num_tokens, None)

    def _delta(self, text: str, num_tokens: int) -> Delta:
        # The tokens of text that was held back, for a stop string or an unfinished character, are
        # told with the text that they end up in.
        delta = Delta(text, num_tokens - self._num_reported_tokens)
        self._num_reported_tokens = num_tokens
        return delta

    def _finished(self, reason: FinishReason, num_tokens: int, matched: str | None) -> Finished:
        self.is_finished = True
        return Finished(reason, num_tokens, self._num_cached or 0, matched)


def _reason(event: Json) -> FinishReason:
    try:
        return _REASONS[event["stop_type"]]
    except KeyError:
        raise GenerationFailed(
            "the engine ended this request without a reason that is known",
            detail=f"stop_type: {event.get('stop_type')!r}",
        ) from None
