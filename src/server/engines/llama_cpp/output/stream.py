"""From the events of `/completion` to the events of an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import structs

from ....contract.errors import EngineLost, GenerationFailed, InvalidRequest
from ....contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    Started,
    TextDelta,
    TokenLogprob,
    TopLogprob,
)
from ...stop_matcher import StopMatcher
from ..client import Json, LlamaCppClient, Refused, Unreachable

# The last event would otherwise repeat the prompt and every setting.
RESPONSE_FIELDS: Final = ("stop", "stop_type", "content", "tokens_predicted")

_REPLACEMENT_CHARACTER: Final = "\ufffd"
_REASONS: Final = {"eos": FinishReason.EOS, "limit": FinishReason.LENGTH}


class StreamReader:
    """Reads the stream of one choice in order, up to its end, a stop string or a stop id.

    `stop_texts` are the texts of the stop ids, which all end with a whole character: of another
    token the stream may not have the id. `num_top` is how many of the likeliest tokens are told.
    `earlier` is what another process said of the choice: it is told first, and counted.

    `is_finished`: a `Finished` was given out. `has_server_finished`: the server ended the request
    by itself and holds nothing for it any more.
    """

    def __init__(
        self,
        stops: tuple[str, ...],
        *,
        stop_texts: Mapping[int, str] | None = None,
        num_top: int = 0,
        choice: int = 0,
        earlier: TextDelta | None = None,
    ) -> None:
        self.is_finished = False
        self.has_server_finished = False
        self._matcher = StopMatcher(stops)
        self._stop_texts = stop_texts or {}
        self._num_top = num_top
        self._choice = choice
        self._textless: tuple[TokenLogprob, ...] = ()
        self._num_cached: int | None = None
        self._earlier = earlier
        self._num_earlier = earlier.num_tokens if earlier else 0
        self._num_tokens = self._num_earlier

    def count_new(self, event: Json) -> int:
        """Counts the tokens that an event brings."""
        num_tokens: int = event.get("tokens_predicted", 0)
        return max(0, self._num_earlier + num_tokens - self._num_tokens)

    def start(self, num_cached: int | None) -> Iterator[EngineEvent]:
        """Tells the start, and what was said before."""
        self._num_cached = num_cached or 0
        yield Started(num_cached)
        if self._earlier is not None:
            yield from self._matcher.push(self._earlier)

    def end_at_limit(self) -> Iterator[EngineEvent]:
        """Tells all of a choice that had its last token before."""
        yield from self.start(None)
        end = ChoiceFinished(FinishReason.LENGTH, choice=self._choice)
        yield from self._matcher.push(TextDelta("", 0, choice=self._choice), end)
        yield Finished(self._num_tokens, 0)

    def read(self, event: Json, token_ids: tuple[int, ...] = ()) -> Iterator[EngineEvent]:
        """Translates one event into none, one or several.

        `token_ids` are those of the tokens that it brings, none where they are not known.

        Raises:
            GenerationFailed: the event tells of an error.
        """
        if "error" in event:
            raise GenerationFailed("the engine failed this request", detail=str(event["error"]))
        if (progress := event.get("prompt_progress")) is not None:
            if self._num_cached is None:
                yield from self.start(progress["cache"])
            yield Prefill(progress["processed"], progress["total"])
            return
        if self._num_cached is None:
            yield from self.start(None)
        num_new = self.count_new(event)
        self._num_tokens += num_new
        self.has_server_finished = event["stop"]
        delta = TextDelta(
            event["content"],
            num_new,
            token_ids,
            logprobs=self._logprobs_of(event),
            choice=self._choice,
        )
        delta, end = self._end_of(event, delta)
        for passed in self._matcher.push(delta, end):
            yield passed
            if isinstance(passed, ChoiceFinished):
                self.is_finished = True
                yield Finished(self._num_tokens, self._num_cached or 0)

    def _logprobs_of(self, event: Json) -> tuple[TokenLogprob, ...]:
        """Gives what a piece brings, but for tokens without text, which wait for the next piece.

        One of them may be the end token, which only the end of the stream tells.
        """
        waiting = self._textless
        if event["stop"]:
            return waiting[:-1] if event.get("stop_type") == "eos" else waiting
        logprobs = (
            *waiting,
            *(self._read_logprob(entry) for entry in event.get("completion_probabilities", ())),
        )
        self._textless = () if event["content"] else logprobs
        return logprobs if event["content"] else ()

    def _read_logprob(self, entry: Json) -> TokenLogprob:
        return TokenLogprob(
            entry["id"],
            entry["logprob"],
            bytes(entry["bytes"]),
            tuple(
                TopLogprob(top["id"], top["logprob"], bytes(top["bytes"]))
                for top in entry["top_logprobs"][: self._num_top]
            ),
        )

    def _end_of(self, event: Json, delta: TextDelta) -> tuple[TextDelta, ChoiceFinished | None]:
        """Finds the end of the choice in a piece, and takes a stop token's text off it."""
        if self.has_server_finished:
            return delta, ChoiceFinished(_reason(event), choice=self._choice)
        for token_id in event.get("tokens", ()):
            text = self._stop_texts.get(token_id)
            if text is not None:
                left = structs.replace(
                    delta,
                    text=delta.text.removesuffix(text),
                    token_ids=delta.token_ids[:-1],
                    logprobs=delta.logprobs[:-1] if delta.text else self._textless[:-1],
                )
                return left, ChoiceFinished(FinishReason.STOP, token_id, self._choice)
        return delta, None


def _reason(event: Json) -> FinishReason:
    try:
        return _REASONS[event["stop_type"]]
    except KeyError:
        raise GenerationFailed(
            "the engine ended this request without a reason that is known",
            detail=f"stop_type: {event.get('stop_type')!r}",
        ) from None


class StopTexts:
    """Finds the texts of the stop ids of requests, and asks the server for each once."""

    def __init__(self, client: LlamaCppClient) -> None:
        self._client = client
        self._texts: dict[int, str] = {}

    async def find(self, token_ids: Iterable[int]) -> Mapping[int, str]:
        """Returns the text of each id. All are below the vocabulary's size.

        Raises:
            InvalidRequest: one is part of a character, of which the server's stream has no id.
            EngineLost: the server does not answer.
        """
        return {token_id: await self._find(token_id) for token_id in token_ids}

    async def _find(self, token_id: int) -> str:
        if token_id not in self._texts:
            try:
                answer = await self._client.post("/detokenize", {"tokens": [token_id]})
            except (Unreachable, Refused) as error:
                raise EngineLost("the engine of the model does not answer") from error
            self._texts[token_id] = answer["content"]
        text = self._texts[token_id]
        if _REPLACEMENT_CHARACTER in text:
            raise InvalidRequest(
                "sampling.stop_token_ids",
                f"token {token_id} is part of a character, which this engine does not stop at",
            )
        return text
