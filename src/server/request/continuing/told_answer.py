"""What a request was told of its answer, so that the next engine's telling goes on behind it."""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Final

from msgspec import structs

from ...contract.earlier_output import EarlierOutput
from ...contract.errors import EngineLost
from ...contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    ReasoningDelta,
    Said,
    TextDelta,
    ToolCallDelta,
)
from ...contract.token_ids import TokenIds

Record = Callable[[Iterable[Said], Iterable[float]], None]
"""Is told of deltas and when each was taken, in seconds of the monotonic clock."""

_MAX_LOOSE: Final = 256
"""Deltas that are gathered before they are sorted in. Few engines die, and few ask when a token
came, but with many streams each token finds nothing of its request in the processor's cache: so it
touches as little as can be."""


class AnsweredOtherwise(EngineLost):
    """The next engine's answer does not begin with what was told: nothing can be joined to it."""

    def __init__(self) -> None:
        super().__init__(
            "the engine of the model stopped while it served this request, and the next one came "
            "to another beginning of the answer"
        )


class ToldAnswer:
    """Keeps what was told of each choice, and leaves it out when an engine tells it again.

        told = ToldAnswer(num_choices=1, record=clock.record)
        with told.settling():
            delta = told.take(event)      # of the first engine: the delta as it is
            told.rewind()                 # the engine died
            request = replace(request, earlier=told.earlier)
            delta = told.take(event)      # of the next one: what is new of it, or None

    However the engines cut the answer into pieces, each character, token id and log-probability is
    told once, and none is left out. `record` is told of many deltas together.
    """

    __slots__ = ("_is_again", "_loose", "_num_choices", "_record", "_times_s", "_told")

    def __init__(self, num_choices: int, record: Record) -> None:
        self._num_choices = num_choices
        self._record = record
        self._told = defaultdict[int, _ToldChoice](_ToldChoice)
        self._loose: list[Said] = []
        self._times_s = array("d")
        self._is_again = False

    def take(self, delta: Said) -> Said | None:
        """Returns what is new of a delta, None for nothing.

        Raises:
            AnsweredOtherwise: it is not what was told before.
        """
        new: Said | None = delta
        if self._is_again:
            new = self._choices[delta.choice].leave_out(delta)
        if new is not None:
            self._loose.append(new)
            self._times_s.append(time.monotonic())
            if len(self._loose) >= _MAX_LOOSE:
                self._settle()
        return new

    @contextmanager
    def settling(self) -> Generator[None]:
        """Tells `record` the rest at the body's end, however it ends."""
        try:
            yield
        finally:
            self._settle()

    def _settle(self) -> None:
        if not self._loose:
            return
        loose, self._loose = self._loose, []
        times_s, self._times_s = self._times_s, array("d")
        for delta in loose:
            self._told[delta.choice].add(delta)
        self._record(loose, times_s)

    def check_end(self, end: ChoiceFinished) -> None:
        """Checks that a choice may end; raises as `take` does."""
        self._choices[end.choice].check_all_again()

    def take_end(self, end: ChoiceFinished) -> None:
        """Takes the end of a choice; raises as `take` does."""
        self.check_end(end)
        self._choices[end.choice].end = end

    def rewind(self) -> None:
        """Expects all of the answer again, from an engine that gets `earlier`."""
        self._is_again = True
        for choice in self._choices.values():
            choice.rewind()

    @property
    def earlier(self) -> tuple[EarlierOutput, ...]:
        """What the next engine is to go on behind."""
        return tuple(self._choices[index].earlier for index in range(self._num_choices))

    @property
    def num_tokens(self) -> int:
        """Tokens that were told, of all choices."""
        return sum(choice.num_tokens for choice in self._choices.values())

    @property
    def num_thought_tokens(self) -> int:
        """Those of them that were thinking."""
        return sum(choice.num_thought_tokens for choice in self._choices.values())

    @property
    def has_ended(self) -> bool:
        """Whether each choice has its end: there is nothing to generate any more."""
        return not self._open

    @property
    def first_reason(self) -> FinishReason:
        """Why the first choice ended, which has its end."""
        end = self._choices[0].end
        assert end is not None, "asked for when all have their ends"
        return end.reason

    def end_open(self, reason: FinishReason) -> list[ChoiceFinished]:
        """Ends the choices that have no end, wherever they are, and returns their ends."""
        ends = [ChoiceFinished(reason, choice=index) for index in self._open]
        for end in ends:
            self._choices[end.choice].end = end
        return ends

    def finish(self, finished: Finished | None, num_cached_tokens: int) -> Finished:
        """Returns the end of the whole generation.

        `finished` is the last engine's, which counts the choices that it generated; None where
        there was nothing left to generate. `num_cached_tokens` is what the first engine found.
        """
        if not self._is_again and finished is not None:
            return finished
        num_tokens = 0 if finished is None else finished.num_completion_tokens
        num_tokens += sum(choice.num_tokens_before for choice in self._choices.values())
        return Finished(num_tokens, num_cached_tokens, self.num_thought_tokens)

    @property
    def _open(self) -> list[int]:
        return [index for index in range(self._num_choices) if self._choices[index].end is None]

    @property
    def _choices(self) -> defaultdict[int, _ToldChoice]:
        self._settle()
        return self._told


@dataclass(slots=True)
class _Told:
    """Text that was told, and how much of it is told again so far."""

    text: StringIO = field(default_factory=StringIO)
    again: str = ""

    def rewind(self) -> None:
        self.again = self.text.getvalue()

    def leave_out(self, text: str) -> str:
        """Returns what is new of a text."""
        if not self.again:
            return text
        length = min(len(text), len(self.again))
        if text[:length] != self.again[:length]:
            raise AnsweredOtherwise
        self.again = self.again[length:]
        return text[length:]


@dataclass(slots=True)
class _ToldChoice:
    text: _Told = field(default_factory=_Told)
    thought: _Told = field(default_factory=_Told)
    calls: dict[int, _Told] = field(default_factory=dict[int, _Told])
    names: dict[int, str] = field(default_factory=dict[int, str])
    token_ids: array[int] = field(default_factory=lambda: array("I"))
    has_all_ids: bool = True
    num_tokens: int = 0
    num_thought_tokens: int = 0
    end: ChoiceFinished | None = None
    # What was told when the engine died, and is told again.
    num_tokens_again: int = 0
    num_ids_again: int = 0
    num_tokens_before: int = 0

    @property
    def earlier(self) -> EarlierOutput:
        # An engine that does not tell ids makes the choice from its beginning once more.
        ids = self.token_ids if self.has_all_ids else ()
        return EarlierOutput(TokenIds.of(ids), has_ended=self.end is not None)

    def add(self, delta: Said) -> None:
        """Takes what is told now."""
        match delta:
            case TextDelta(text, num_tokens, ids):
                self.text.text.write(text)
                if text and num_tokens and not ids:
                    self.has_all_ids = False
            case ReasoningDelta(text, num_tokens, ids):
                self.thought.text.write(text)
                self.num_thought_tokens += num_tokens
                if text and num_tokens and not ids:
                    self.has_all_ids = False
            case ToolCallDelta(index, _, name, arguments):
                if name:
                    self.names[index] = name
                    self.has_all_ids = self.has_all_ids and bool(delta.token_ids)
                self.calls.setdefault(index, _Told()).text.write(arguments)
        self.num_tokens += delta.num_tokens
        if delta.token_ids:
            self.token_ids.extend(delta.token_ids)

    def rewind(self) -> None:
        if self.end is not None:
            # The end token is counted, and told of by no delta.
            has_end_token = self.end.reason in (FinishReason.EOS, FinishReason.TOOL_CALLS)
            has_end_token = has_end_token or isinstance(self.end.matched, int)
            self.num_tokens_before = self.num_tokens + has_end_token
            return
        self.num_tokens_again = self.num_tokens
        self.num_ids_again = len(self.token_ids)
        for told in (self.text, self.thought, *self.calls.values()):
            told.rewind()

    def check_all_again(self) -> None:
        """Raises `AnsweredOtherwise` where the engine did not tell again all that was told."""
        if any(told.again for told in (self.text, self.thought, *self.calls.values())):
            raise AnsweredOtherwise

    def leave_out(self, delta: Said) -> Said | None:
        """Returns what is new of a delta that may have been told before."""
        match delta:
            case TextDelta():
                text = self.text.leave_out(delta.text)
                num_tokens, ids = self._count_again(delta)
                # There is one for each token id, or for the last ones.
                num_left_out = len(delta.logprobs) - (len(ids) if delta.token_ids else num_tokens)
                logprobs = delta.logprobs[max(0, num_left_out) :]
                if not (text or num_tokens or ids or logprobs):
                    return None
                return structs.replace(
                    delta, text=text, num_tokens=num_tokens, token_ids=ids, logprobs=logprobs
                )
            case ReasoningDelta():
                text = self.thought.leave_out(delta.text)
                num_tokens, ids = self._count_again(delta)
                if not (text or num_tokens or ids):
                    return None
                return structs.replace(delta, text=text, num_tokens=num_tokens, token_ids=ids)
            case ToolCallDelta():
                return self._leave_out_call(delta)

    def _leave_out_call(self, call: ToolCallDelta) -> ToolCallDelta | None:
        num_tokens, ids = self._count_again(call)
        known = self.names.get(call.index)
        if known is None:
            return structs.replace(call, num_tokens=num_tokens, token_ids=ids)
        if call.name and call.name != known:
            raise AnsweredOtherwise
        arguments = self.calls[call.index].leave_out(call.arguments)
        if not (arguments or num_tokens or ids):
            return None
        # Its first part, with the id that the caller knows it by, was told before.
        return ToolCallDelta(call.index, "", "", arguments, num_tokens, call.choice, ids)

    def _count_again(self, delta: Said) -> tuple[int, tuple[int, ...]]:
        """Returns the tokens of a delta that are new, and their ids."""
        num_tokens = min(delta.num_tokens, self.num_tokens_again)
        self.num_tokens_again -= num_tokens
        num_ids = min(len(delta.token_ids), self.num_ids_again)
        self.num_ids_again -= num_ids
        return delta.num_tokens - num_tokens, delta.token_ids[num_ids:]
