"""One answer, divided into text, thinking and calls while it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .call_formats import CallFormat
from .found_calls import FoundCall, Tools
from .json_text import NotJson
from .thinking_formats import ThinkingFormat


@dataclass(frozen=True, slots=True)
class Text:
    """Text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Thinking."""

    text: str


Piece = Text | Thought | FoundCall


class Splitter:
    """Divides one answer. What it gives does not depend on how the answer was cut into pieces.

        pieces = [*splitter.push("<tool_call>{…"), *splitter.push("…"), *splitter.end()]

    A call is given once it is whole and can be believed: until then its block is held back, and it
    is given as the text that it is where the answer ends first. Space around calls and thinking is
    left out. `is_in_call` while a block is held back; `num_read` characters have been given.
    """

    def __init__(
        self,
        tools: Tools,
        calls: CallFormat | None,
        thinking: ThinkingFormat | None,
        *,
        begins_in_thought: bool,
    ) -> None:
        self._tools = tools
        self._calls = calls
        self._thinking = thinking
        self._buffer = ""
        self._space = ""  # held back: it is left out where a call or the end of one follows
        self._is_in_thought = begins_in_thought
        self._is_first = True  # nothing but space and thinking so far
        self._drops_space = begins_in_thought
        self._block_searched = 0  # of the block at the buffer's start
        self.is_in_call = False
        self.num_read = 0

    def push(self, text: str) -> Iterator[Piece]:
        """Takes the next part of the answer."""
        self._buffer += text
        return self._read(is_last=False)

    def end(self) -> Iterator[Piece]:
        """Takes the answer's end: nothing is held back any more."""
        return self._read(is_last=True)

    def _read(self, *, is_last: bool) -> Iterator[Piece]:
        is_moving = True
        while is_moving:
            num_read = self.num_read
            was_in_call = self.is_in_call
            if self.is_in_call:
                yield from self._read_block(is_last=is_last)
            elif self._is_in_thought:
                yield from self._read_thought(is_last=is_last)
            else:
                yield from self._read_text(is_last=is_last)
            is_moving = self.num_read != num_read or self.is_in_call != was_in_call
        if is_last and self._space and not self._drops_space:
            yield self._piece(self._space)

    def _read_text(self, *, is_last: bool) -> Iterator[Piece]:
        place, mark = self._find_mark()
        if mark:
            yield from self._say(self._take(place))
            if self._is_call_begin(mark):
                self.is_in_call = True
                self._block_searched = 0
                return
            self._take(len(mark))
            self._leave_space_out()
            self._is_in_thought = self._thinking is not None and mark == self._thinking.begin
            return
        num_held = 0 if is_last else self._num_held(self._text_marks())
        yield from self._say(self._take(len(self._buffer) - num_held))

    def _read_thought(self, *, is_last: bool) -> Iterator[Piece]:
        assert self._thinking is not None
        end = self._thinking.end
        if self._drops_space and not self._skip_begins(self._thinking.begin, is_last=is_last):
            return
        place = self._buffer.find(end)
        if place >= 0:
            yield from self._say(self._take(place))
            self._take(len(end))
            self._leave_space_out()
            self._is_in_thought = False
            return
        num_held = 0 if is_last else self._num_held((end,))
        yield from self._say(self._take(len(self._buffer) - num_held))

    def _skip_begins(self, begin: str, *, is_last: bool) -> bool:
        """Leaves out what the prompt has and the model says once more; False: more is needed."""
        while True:
            self._take(len(self._buffer) - len(self._buffer.lstrip()))
            if not self._buffer.startswith(begin):
                return is_last or not begin.startswith(self._buffer)
            self._take(len(begin))

    def _read_block(self, *, is_last: bool) -> Iterator[Piece]:
        assert self._calls is not None
        end = self._calls.end
        while end and (place := self._buffer.find(end, self._block_searched)) >= 0:
            # Not always the end: it may stand in a string of the arguments.
            self._block_searched = place + len(end)
            if found := self._believe(self._buffer[:place]):
                self._take(place + len(end))
                yield from self._leave_block(found)
                return
        self._block_searched = max(self._block_searched, len(self._buffer) - len(end))
        if not is_last:
            return
        if not self._calls.needs_end and (found := self._believe(self._buffer)):
            self._take(len(self._buffer))
            yield from self._leave_block(found)
            return
        # No call: its mark is text, and there may be others behind it.
        self.is_in_call = False
        yield from self._say(self._take(self._length_of_begin()))

    def _leave_block(self, found: list[FoundCall]) -> Iterator[Piece]:
        self.is_in_call = False
        self._is_first = False
        self._leave_space_out()
        yield from found

    def _believe(self, block: str) -> list[FoundCall]:
        assert self._calls is not None
        try:
            return self._calls.read(block, self._tools)
        except NotJson:
            return []

    def _say(self, text: str) -> Iterator[Piece]:
        text = self._space + text
        if self._drops_space:
            text = text.lstrip()
        said = text.rstrip()
        self._space = text[len(said) :]
        if said:
            self._drops_space = False
            self._is_first = self._is_first and self._is_in_thought
            yield self._piece(said)

    def _piece(self, text: str) -> Piece:
        return Thought(text) if self._is_in_thought else Text(text)

    def _leave_space_out(self) -> None:
        self._space = ""
        self._drops_space = True

    def _take(self, length: int) -> str:
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        self.num_read += length
        return taken

    def _find_mark(self) -> tuple[int, str]:
        """Finds the first mark in the buffer, of several at one place the longest."""
        found = [
            (place, -len(mark), mark)
            for mark in self._text_marks()
            if (place := self._buffer.find(mark)) >= 0
            and (not self._is_first_mark(mark) or not self._buffer[:place].strip())
        ]
        place, _, mark = min(found, default=(0, 0, ""))
        return place, mark

    def _text_marks(self) -> tuple[str, ...]:
        marks: list[str] = []
        if self._calls is not None:
            marks += self._calls.begins + self._calls.noise
            marks += self._calls.first_begins if self._is_first else ()
        if self._thinking is not None:
            marks += self._thinking.noise
            if self._is_first or not self._thinking.only_first:
                marks.append(self._thinking.begin)
        return tuple(marks)

    def _is_first_mark(self, mark: str) -> bool:
        """Whether it is none behind other text."""
        if self._thinking is not None and mark == self._thinking.begin:
            return self._thinking.only_first
        return self._calls is not None and mark in self._calls.first_begins

    def _is_call_begin(self, mark: str) -> bool:
        return self._calls is not None and mark in (*self._calls.begins, *self._calls.first_begins)

    def _length_of_begin(self) -> int:
        assert self._calls is not None
        begins = (*self._calls.begins, *self._calls.first_begins)
        return max(len(begin) for begin in begins if self._buffer.startswith(begin))

    def _num_held(self, marks: tuple[str, ...]) -> int:
        """Returns how many characters at the buffer's end may begin a mark."""
        longest = max((len(mark) for mark in marks), default=1) - 1
        for num_held in range(min(longest, len(self._buffer)), 0, -1):
            if any(mark.startswith(self._buffer[-num_held:]) for mark in marks):
                return num_held
        return 0
