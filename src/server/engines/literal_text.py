"""Prompts in which the request's own words are text, and only the chat template's make tokens.

A character of every special text in the request is replaced by a stand-in: the template then
prints what no tokenizer reads as a control token, wherever it puts it and whatever it makes of it.
Of the rendered text the stand-ins become themselves again, each with a break behind it, and what
the break is in tokens is taken out of the prompt.

The steps are the same on every engine, and are told as a generator that asks for one after the
other: what it yields is done by the engine, and sent back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..contract.errors import InvalidRequest
from .special_text import SpecialTexts

Json: TypeAlias = "str | int | float | bool | dict[str, Json] | list[Json] | None"
"""Anything that is given to a template."""

# Two planes of characters for private use. No template trims them, changes their case or escapes
# them in JSON, unless JSON is to be ASCII.
_PRIVATE: Final = re.compile("[\U000f0000-\U0010ffff]")
_FIRST_PRIVATE: Final = 0xF0000
_LAST_PRIVATE: Final = 0x10FFFD


@dataclass(frozen=True, slots=True)
class Render:
    """Asks for the text that the chat template makes of a value, None where it refuses it."""

    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Asks for the tokens of a text, special ones read; `is_prompt`: as a prompt begins."""

    text: str
    is_prompt: bool = False


Steps = Generator[Render | Tokenize, Any, list[int] | None]
"""Ends with the ids, None where the template refuses the conversation. Sent: a text or ids."""


def strings_of(value: Json) -> Iterator[str]:
    """Yields every string of a value, the names of its objects' entries with them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield name
            yield from strings_of(entry)
    elif isinstance(value, list):
        for element in value:
            yield from strings_of(element)


def read_chat(
    special: SpecialTexts, value: dict[str, Any], *, continues: bool, is_literal: bool
) -> Steps:
    """Renders and tokenises a conversation, `value["messages"]` being its messages.

    `continues`: the last message goes on, where it ends. `is_literal`: the strings of `value` are
    text. Where the template asks what stands in a message, it is shown the message as it is, and
    its answer to that one is kept. Where that cannot be told from what the message prints, it is
    shown the stand-ins: it then does not find the special texts that it asks for.

    Raises:
        InvalidRequest: the last message is not in what the template prints, or the texts cannot be
            written as text with this tokenizer.
    """
    private = _PrivateCharacters(strings_of(value))
    end = ""
    if continues:
        end = private.take()
        value = _with_end(value, end)
    plain = yield Render(value)
    if plain is None:
        return None
    plain = _until(plain, end)
    if plain is None:
        raise InvalidRequest(
            "continue_last_message", "the model's chat template does not print the last message"
        )
    private.avoid(plain)
    text = plain
    hiding = _Hiding(special, private)
    if is_literal and special.occur_in(strings_of(value)):
        text = yield from _hide_in_prompt(hiding, value, plain, end)
    if special.count(text) != special.count(plain):
        return (yield from _tokenize_hidden(hiding, text, is_prompt=True))
    ids: list[int] = yield Tokenize(plain, is_prompt=True)  # the template makes all there are
    return ids


def read_text(special: SpecialTexts, text: str) -> Generator[Tokenize, Any, list[int]]:
    """Tokenises a text that holds no control token, whatever it says. As the middle of a prompt.

    Raises:
        InvalidRequest: it cannot be written as text with this tokenizer.
    """
    if special.occur_in([text]):
        hiding = _Hiding(special, _PrivateCharacters([text]))
        return (yield from _tokenize_hidden(hiding, hiding.hide(text), is_prompt=False))
    ids: list[int] = yield Tokenize(text)
    return ids


def _hide_in_prompt(
    hiding: _Hiding, value: dict[str, Any], plain: str, end: str
) -> Generator[Render, Any, str]:
    once = _until((yield Render(_changed(value, hiding.hide))), end)
    if once is not None and hiding.show(once) == plain:
        return once
    # The template looks into the messages. To write a text twice changes nothing of whether it
    # stands there, nor of what stands before the first and behind the last.
    twice = _until((yield Render(_changed(value, hiding.special.double))), end)
    aligned = None if twice is None else hiding.special.align(plain, twice, hiding.hide)
    if aligned is not None:
        return aligned
    if once is None:
        raise _unspeakable()
    return once


def _tokenize_hidden(
    hiding: _Hiding, text: str, *, is_prompt: bool
) -> Generator[Tokenize, Any, list[int]]:
    """Tokenises a text with its stand-ins replaced, each followed by a break that is taken out."""
    special = hiding.special
    # Many tokenizers begin every prompt with a token that the text need not have.
    around: Sequence[int] = (yield Tokenize("", is_prompt=True)) if is_prompt else ()
    num_control = special.count(text) + special.count_ids(around)
    for mark, ids_of_mark in (yield from _breaks(hiding, text, around)):
        broken, num_breaks = hiding.break_up(text, mark)
        ids = yield Tokenize(broken, is_prompt=is_prompt)
        found = _take_out(ids, ids_of_mark, num_breaks)
        if found is not None and special.count_ids(found) <= num_control:
            return found
    raise _unspeakable()


def _breaks(
    hiding: _Hiding, text: str, around: Sequence[int]
) -> Generator[Tokenize, Any, list[tuple[str, Sequence[int]]]]:
    """Lists what can break up a text, and what it is in tokens wherever it stands.

    Nothing of what the tokenizer itself puts `around` it can.
    """
    special = hiding.special
    found: list[tuple[str, Sequence[int]]] = []
    mark = hiding.private.take()
    one = yield Tokenize(f"<{mark}<")
    two = yield Tokenize(f"<{mark}<{mark}<")
    length = len(two) - len(one) - 1
    ids = one[-length - 1 : -1]
    # What a tokenizer does not know it may join with its neighbours.
    if length >= 0 and list(two) == [*one, *ids, one[-1]] and special.unknown.isdisjoint(ids):
        found.append((mark, ids))
    # A control token that the prompt does not have: nothing joins with it.
    for spare, token_id in special.ids.items():
        if spare not in text and token_id not in special.unknown and token_id not in around:
            return [*found, (spare, [token_id])]
    return found


def _take_out(ids: Sequence[int], part: Sequence[int], number: int) -> list[int] | None:
    """Takes `part` out wherever it stands; None where that is not `number` times."""
    if not part:
        return list(ids)
    rest: list[int] = []
    at = 0
    length = len(part)
    while at < len(ids):
        if ids[at] == part[0] and list(ids[at : at + length]) == list(part):
            number -= 1
            at += length
        else:
            rest.append(ids[at])
            at += 1
    return rest if number == 0 else None


class _PrivateCharacters:
    """Characters that stand nowhere in a request or its prompt."""

    def __init__(self, texts: Iterator[str] | Sequence[str]) -> None:
        self._used: set[str] = set()
        self._next = _FIRST_PRIVATE
        for text in texts:
            self.avoid(text)

    def avoid(self, text: str) -> None:
        """Adds what a text has of them to those that are used."""
        if not text.isascii():
            self._used.update(_PRIVATE.findall(text))

    def take(self) -> str:
        """Gives one that is not used."""
        while self._next <= _LAST_PRIVATE:
            character = chr(self._next)
            self._next += 1
            if character not in self._used and ord(character) & 0xFFFF < 0xFFFE:
                return character
        raise InvalidRequest("messages", "hold every character for private use there is")


class _Hiding:
    """Stand-ins for characters of special texts."""

    def __init__(self, special: SpecialTexts, private: _PrivateCharacters) -> None:
        self.special = special
        self.private = private
        self._stand_ins: dict[str, str] = {}
        self._originals: dict[int, str] = {}

    def hide(self, text: str) -> str:
        """Puts a stand-in into each special text."""
        places = set(self.special.find_in(text))
        if not places:
            return text
        return "".join(
            self._stand_in(character) if place in places else character
            for place, character in enumerate(text)
        )

    def show(self, text: str) -> str:
        """Undoes `hide`, whatever else became of the text."""
        return text.translate(self._originals)

    def break_up(self, text: str, mark: str) -> tuple[str, int]:
        """Undoes `hide`, with a mark behind each such character, and counts them."""
        number = sum(map(text.count, self._stand_ins.values()))
        return text.translate({at: old + mark for at, old in self._originals.items()}), number

    def _stand_in(self, character: str) -> str:
        if character not in self._stand_ins:
            self._stand_ins[character] = self.private.take()
            self._originals[ord(self._stand_ins[character])] = character
        return self._stand_ins[character]


def _changed(value: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Copies what is given to a template, with every string changed but the names of its parts."""
    return {name: _with_strings(part, change) for name, part in value.items()}


def _with_strings(value: Json, change: Callable[[str], str]) -> Json:
    """Copies a value with every string changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _with_strings(entry, change) for name, entry in value.items()}
    if isinstance(value, list):
        return [_with_strings(element, change) for element in value]
    return value


def _with_end(value: dict[str, Any], end: str) -> dict[str, Any]:
    """Copies a value with a mark behind the text of the last message."""
    *before, last = value["messages"]
    content = last["content"]
    if isinstance(content, str):
        content = content + end
    else:
        *parts, text = content
        content = [*parts, text | {"text": text["text"] + end}]
    return value | {"messages": [*before, last | {"content": content}]}


def _until(text: str | None, end: str) -> str | None:
    """Cuts a rendered text where the last message ends; None where it does not stand there."""
    if text is None or not end:
        return text
    before, found, _ = text.rpartition(end)
    return before if found else None


def _unspeakable() -> InvalidRequest:
    return InvalidRequest(
        "messages", "hold the text of a control token, which this model can only read as one"
    )
