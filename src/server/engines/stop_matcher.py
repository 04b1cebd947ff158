"""Stop strings, found in text that arrives piece by piece."""

from __future__ import annotations

from collections import deque
from itertools import chain

from ..contract.events import ChoiceFinished, FinishReason, TextDelta


class StopMatcher:
    """Finds the first stop string of one choice, and holds back what may be the beginning of one.

        for delta in deltas:
            yield from matcher.push(delta)  # a `ChoiceFinished` among them ends the choice
        yield from matcher.push(last_delta, ChoiceFinished(FinishReason.LENGTH))

    First is the one that is complete first; of two that end at one place, the longer. So the
    answer does not depend on how the text was cut into pieces, and never waits without need.
    Token ids and log-probabilities go with the beginning of their text: they are held back with
    it, and those whose text begins inside a stop string are dropped with it. What one delta brings
    is not divided: push tokens one by one where their texts are known.

    Not left to the engines: llama.cpp drops text that it holds back when its token limit comes,
    and SGLang looks for stop strings in a window of tokens only.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._max_held = max((len(text) for text in self._stop), default=1) - 1
        self._held = ""
        self._num_passed = 0
        # Of the tokens that are held back, each with the place in the whole text where theirs
        # begins. Without text, as within a character, they belong to the text that comes next.
        self._tokens = deque[tuple[int, TextDelta]]()

    def push(
        self, delta: TextDelta, end: ChoiceFinished | None = None
    ) -> tuple[TextDelta | ChoiceFinished, ...]:
        """Takes the next piece and gives what is safe: at most one delta, then the end.

        The end is `end`, with which nothing is held back any more, or an earlier one with the stop
        string that matched; behind it nothing more may be pushed.
        """
        self._tokens.append((self._num_passed + len(self._held), delta))
        text = self._held + delta.text
        cut = len(text)
        found = [
            (start + len(stop), -len(stop), stop)
            for stop in self._stop
            if (start := text.find(stop)) >= 0
        ]
        is_whole = end is not None and not found
        if found:
            place, negative_length, stop = min(found)
            cut = place + negative_length
            end = ChoiceFinished(FinishReason.STOP, stop, delta.choice)
        elif end is None:
            cut -= self._num_held(text)
        self._held = text[cut:]
        self._num_passed += cut
        tokens: list[TextDelta] = []
        while self._tokens and (is_whole or self._tokens[0][0] < self._num_passed):
            tokens.append(self._tokens.popleft()[1])
        passed = TextDelta(
            text[:cut],
            sum(each.num_tokens for each in tokens),
            tuple(chain.from_iterable(each.token_ids for each in tokens)),
            tuple(chain.from_iterable(each.logprobs for each in tokens)),
            delta.choice,
        )
        has_something = passed.text or passed.token_ids or passed.logprobs
        return (*((passed,) if has_something else ()), *((end,) if end else ()))

    def _num_held(self, text: str) -> int:
        """Returns how many characters at the end of `text` may begin a stop string."""
        for num_held in range(min(self._max_held, len(text)), 0, -1):
            if any(stop.startswith(text[-num_held:]) for stop in self._stop):
                return num_held
        return 0
