"""What an engine says of a generation, with thinking and calls told from text."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec

from ...contract.errors import GenerationFailed
from ...contract.events import (
    ChoiceFinished,
    Delta,
    EngineEvent,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from ...contract.tools import AnswerForm
from .call_formats import CALL_FORMATS
from .found_calls import FoundCall
from .splitter import Piece, Splitter, Text, Thought
from .thinking_formats import THINKING_FORMATS


class AnswerReader:
    """Reads the events of one generation, all its choices. Without a form it changes nothing.

    A block of calls that is held back is counted at once, as text without text: so whoever waits
    for a sign of the engine gets one, and a request that is cut short has all its tokens.
    """

    def __init__(self, form: AnswerForm | None) -> None:
        self._form = form
        self._choices: dict[int, _ChoiceReader] = {}

    def read(self, event: EngineEvent) -> Iterable[EngineEvent]:
        """Gives what an event says, in order; it may be nothing yet."""
        if self._form is None:
            return (event,)
        match event:
            case TextDelta():
                return self._choice(event.choice, self._form).push(event)
            case ChoiceFinished():
                return self._choice(event.choice, self._form).end(event)
            case Finished():
                num_thought = sum(each.num_thought_tokens for each in self._choices.values())
                return (msgspec.structs.replace(event, num_reasoning_tokens=num_thought),)
            case _:
                return (event,)

    def _choice(self, index: int, form: AnswerForm) -> _ChoiceReader:
        return self._choices.setdefault(index, _ChoiceReader(index, form))


class _ChoiceReader:
    def __init__(self, choice: int, form: AnswerForm) -> None:
        self._choice = choice
        self._is_forced = bool(form.forced_schema)
        self._splitter = Splitter(
            {tool.name: tool for tool in form.tools},
            CALL_FORMATS.get(form.tool_parser) if form.tools else None,
            THINKING_FORMATS.get(form.reasoning_parser),
            begins_in_thought=form.begins_in_thought,
        )
        self._num_pushed = 0
        # Tokens that were not told of yet, each with the place where its text begins.
        self._tokens = deque[tuple[int, TextDelta]]()
        self._num_counted = 0  # of the first of these
        self._num_calls = 0
        self.num_thought_tokens = 0

    def push(self, delta: TextDelta) -> Iterator[Delta]:
        self._tokens.append((self._num_pushed, delta))
        self._num_pushed += len(delta.text)
        for told in self._tell(self._splitter.push(delta.text)):
            if self._is_forced and isinstance(told, TextDelta):
                raise _not_forced()  # at once: without its grammar the answer may go on for long
            yield told
        if self._splitter.is_in_call:
            yield TextDelta("", self._count_held(), choice=self._choice)

    def end(self, end: ChoiceFinished) -> Iterator[Delta]:
        yield from self._tell(self._splitter.end())
        if self._tokens:
            yield self._text("", self._take_tokens(is_last=True))
        is_natural = end.reason is FinishReason.EOS or (
            end.reason is FinishReason.STOP and not isinstance(end.matched, str)
        )
        if self._num_calls and is_natural:
            yield ChoiceFinished(FinishReason.TOOL_CALLS, choice=self._choice)
            return
        if self._is_forced and is_natural:
            raise _not_forced()
        yield end

    def _tell(self, pieces: Iterable[Piece]) -> Iterator[Delta]:
        for piece in pieces:
            tokens = self._take_tokens(is_last=False)
            match piece:
                case Text(text):
                    yield self._text(text, tokens)
                case Thought(text):
                    num_tokens = sum(token.num_tokens for token in tokens)
                    self.num_thought_tokens += num_tokens
                    yield ReasoningDelta(text, num_tokens, _ids(tokens), self._choice)
                case FoundCall(name, arguments):
                    num_tokens = sum(token.num_tokens for token in tokens)
                    index = self._num_calls
                    self._num_calls += 1
                    call_id = f"call_{uuid.uuid4().hex[:24]}"
                    yield ToolCallDelta(
                        index, call_id, name, "", num_tokens, self._choice, _ids(tokens)
                    )
                    yield ToolCallDelta(index, "", "", arguments, 0, self._choice)

    def _text(self, text: str, tokens: list[TextDelta]) -> TextDelta:
        return TextDelta(
            text,
            sum(token.num_tokens for token in tokens),
            _ids(tokens),
            tuple(chain.from_iterable(token.logprobs for token in tokens)),
            self._choice,
        )

    def _count_held(self) -> int:
        """Counts the tokens that are held back and were not counted yet."""
        num_tokens = 0
        for index in range(self._num_counted, len(self._tokens)):
            place, held = self._tokens[index]
            num_tokens += held.num_tokens
            self._tokens[index] = (place, msgspec.structs.replace(held, num_tokens=0))
        self._num_counted = len(self._tokens)
        return num_tokens

    def _take_tokens(self, *, is_last: bool) -> list[TextDelta]:
        taken: list[TextDelta] = []
        while self._tokens and (is_last or self._tokens[0][0] < self._splitter.num_read):
            taken.append(self._tokens.popleft()[1])
            self._num_counted = max(0, self._num_counted - 1)
        return taken


def _not_forced() -> GenerationFailed:
    return GenerationFailed(
        "the engine did not keep to `tool_choice`", detail="the answer is no list of calls"
    )


def _ids(tokens: Iterable[TextDelta]) -> tuple[int, ...]:
    return tuple(chain.from_iterable(token.token_ids for token in tokens))
