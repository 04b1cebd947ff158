"""What was told before is left out, however the next engine cuts the answer into pieces."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import pytest
from tokenwire.server.contract.earlier_output import EarlierOutput
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    ReasoningDelta,
    Said,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.request.continuing.told_answer import ToldAnswer


def no_clock(deltas: Iterable[Said], times_s: Iterable[float]) -> None:
    """Takes no times."""


def token(number: int) -> TextDelta:
    """A token with its id and its log-probability."""
    text = f"<{number}>"
    return TextDelta(text, 1, (number,), (TokenLogprob(number, -0.5, text.encode()),))


def join(tokens: Sequence[TextDelta]) -> TextDelta:
    """Tokens that come together."""
    return TextDelta(
        "".join(each.text for each in tokens),
        len(tokens),
        tuple(token_id for each in tokens for token_id in each.token_ids),
        tuple(logprob for each in tokens for logprob in each.logprobs),
    )


def cut(tokens: Sequence[TextDelta], chance: random.Random) -> list[TextDelta]:
    """The same tokens in other pieces."""
    pieces: list[TextDelta] = []
    rest = list(tokens)
    while rest:
        count = chance.randint(1, 4)
        pieces.append(join(rest[:count]))
        rest = rest[count:]
    return pieces


def take_all(told: ToldAnswer, deltas: Sequence[Said]) -> list[Said]:
    """What is told of deltas."""
    return [new for new in map(told.take, deltas) if new is not None]


def test_random_cuts_over_three_engines() -> None:
    """Each character, id, log-probability and token comes once, whatever the pieces are."""
    chance = random.Random(5)
    tokens = [token(number) for number in range(40)]
    for _ in range(200):
        told = ToldAnswer(1, no_clock)
        seen: list[Said] = []
        for engine in range(3):
            pieces = cut(tokens, chance)
            is_last = engine == 2
            seen += take_all(told, pieces if is_last else pieces[: chance.randint(0, len(pieces))])
            if not is_last:
                told.rewind()
                num_told = sum(delta.num_tokens for delta in seen)
                assert told.earlier == (EarlierOutput(TokenIds.of(range(num_told))),)
        texts = [delta for delta in seen if isinstance(delta, TextDelta)]
        assert join(tokens) == TextDelta(
            "".join(delta.text for delta in texts),
            sum(delta.num_tokens for delta in texts),
            tuple(token_id for delta in texts for token_id in delta.token_ids),
            tuple(logprob for delta in texts for logprob in delta.logprobs),
        )


def test_earlier_tokens_without_logprobs() -> None:
    """An engine that tells none for the earlier tokens loses none of the new ones."""
    told = ToldAnswer(1, no_clock)
    take_all(told, [token(0), token(1)])
    told.rewind()
    again = TextDelta("<0><1>", 2, (0, 1))
    assert take_all(told, [again, token(2)]) == [token(2)]


def test_another_answer_is_refused() -> None:
    """Text that is not what was told ends it: nothing of it is told."""
    told = ToldAnswer(1, no_clock)
    take_all(told, [token(0), token(1)])
    told.rewind()
    with pytest.raises(EngineLost, match="another beginning"):
        told.take(TextDelta("<0><2>", 2, (0, 2)))


def test_answer_that_ends_too_early_is_refused() -> None:
    """An end before all that was told came again is another answer."""
    told = ToldAnswer(1, no_clock)
    take_all(told, [token(0), token(1)])
    told.rewind()
    take_all(told, [token(0)])
    with pytest.raises(EngineLost, match="another beginning"):
        told.take_end(ChoiceFinished(FinishReason.EOS))


def test_thinking_and_calls_go_on() -> None:
    """Thinking and calls are told once; a call keeps the id that it was told with."""
    told = ToldAnswer(1, no_clock)
    thought = ReasoningDelta("I think", 2, (1, 2))
    name = ToolCallDelta(0, "call-a", "weather", "", 3, 0, (3, 4, 5))
    arguments = ToolCallDelta(0, "", "", '{"city":"Paris"}')
    assert take_all(told, [thought, name]) == [thought, name]  # the engine dies between the two
    told.rewind()
    assert told.earlier == (EarlierOutput(TokenIds.of([1, 2, 3, 4, 5])),)
    renamed = ToolCallDelta(0, "call-b", "weather", "", 3, 0, (3, 4, 5))
    other = ToolCallDelta(1, "call-c", "time", "", 1, 0, (6,))
    assert take_all(told, [thought, renamed, arguments, other]) == [arguments, other]


def test_another_call_is_refused() -> None:
    """A call of another name, or with other arguments, is another answer."""
    for name, arguments in (("time", "{}"), ("weather", "[]")):
        told = ToldAnswer(1, no_clock)
        call = [
            ToolCallDelta(0, "a", "weather", "", 1, 0, (1,)),
            ToolCallDelta(0, "", "", "{}"),
        ]
        take_all(told, call)
        told.rewind()
        with pytest.raises(EngineLost):
            take_all(
                told,
                [ToolCallDelta(0, "b", name, "", 1, 0, (1,)), ToolCallDelta(0, "", "", arguments)],
            )


def test_tokens_that_were_counted_ahead_of_their_call() -> None:
    """Tokens of a block that was held back are counted once, though it is made once more."""
    told = ToldAnswer(1, no_clock)
    take_all(told, [token(0), TextDelta("", 4)])
    told.rewind()
    assert told.earlier == (EarlierOutput(TokenIds.of([0])),)
    call = ToolCallDelta(0, "a", "weather", "", 2, 0, (1, 2, 3, 4, 5, 6))
    new = take_all(told, [token(0), TextDelta("", 3), TextDelta("", 1), call])
    assert sum(delta.num_tokens for delta in new) == 2
    assert new[-1] == call


def test_engine_without_ids_makes_the_answer_once_more() -> None:
    """Where an engine told no ids, the next one gets none, and its first words are left out."""
    told = ToldAnswer(1, no_clock)
    take_all(told, [TextDelta("one ", 1), TextDelta("two ", 1)])
    told.rewind()
    assert told.earlier == (EarlierOutput(),)
    new = take_all(told, [TextDelta("one two th", 3), TextDelta("ree", 1)])
    assert new == [TextDelta("th", 1), TextDelta("ree", 1)]


def test_choices_go_on_by_themselves() -> None:
    """A choice that has ended is asked for no more, and counts in the end with its end token."""
    told = ToldAnswer(2, no_clock)
    take_all(told, [token(0), TextDelta("a", 1, (7,), choice=1)])
    told.take_end(ChoiceFinished(FinishReason.EOS, choice=0))
    told.rewind()
    assert told.earlier == (
        EarlierOutput(TokenIds.of([0]), has_ended=True),
        EarlierOutput(TokenIds.of([7])),
    )
    assert not told.has_ended
    assert take_all(told, [TextDelta("ab", 2, (7, 8), choice=1)]) == [
        TextDelta("b", 1, (8,), choice=1)
    ]
    told.take_end(ChoiceFinished(FinishReason.LENGTH, choice=1))
    assert told.has_ended
    assert told.finish(Finished(2, 99, 0), num_cached_tokens=3) == Finished(4, 3, 0)


def test_all_that_was_taken_is_recorded() -> None:
    """However many, in order, with the time of each, and though the body ends by an error."""
    recorded: list[tuple[Said, float]] = []

    def record(deltas: Iterable[Said], times_s: Iterable[float]) -> None:
        recorded.extend(zip(deltas, times_s, strict=True))

    told = ToldAnswer(1, record)
    tokens = [token(number) for number in range(600)]
    start_s = time.monotonic()
    with suppress(RuntimeError), told.settling():
        take_all(told, tokens)
        raise RuntimeError
    assert [delta for delta, _ in recorded] == tokens
    times = [start_s, *(time_s for _, time_s in recorded), time.monotonic()]
    assert times == sorted(times)


def test_what_is_told_again_is_not_recorded() -> None:
    """The next engine's time for the tokens that the caller has is not between tokens."""
    recorded: list[Said] = []

    def record(deltas: Iterable[Said], times_s: Iterable[float]) -> None:
        recorded.extend(delta for delta, _ in zip(deltas, times_s, strict=True))

    told = ToldAnswer(1, record)
    with told.settling():
        take_all(told, [token(0), token(1)])
        told.rewind()
        take_all(told, [token(0), token(1), token(2)])
    assert recorded == [token(0), token(1), token(2)]
