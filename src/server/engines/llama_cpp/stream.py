"""From the events of `/completion` to the events of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...contract.errors import GenerationFailed
from ...contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    Started,
    TextDelta,
)
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
        self._num_tokens = 0

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
        num_before, self._num_tokens = self._num_tokens, event["tokens_predicted"]
        self.has_server_finished = event["stop"]
        end = ChoiceFinished(_reason(event)) if self.has_server_finished else None
        delta = TextDelta(event["content"], self._num_tokens - num_before)
        for passed in self._matcher.push(delta, end):
            yield passed
            if isinstance(passed, ChoiceFinished):
                self.is_finished = True
                yield Finished(self._num_tokens, self._num_cached)


def _reason(event: Json) -> FinishReason:
    try:
        return _REASONS[event["stop_type"]]
    except KeyError:
        raise GenerationFailed(
            "the engine ended this request without a reason that is known",
            detail=f"stop_type: {event.get('stop_type')!r}",
        ) from None
