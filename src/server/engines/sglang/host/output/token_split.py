"""Items of several tokens as pieces of one token each."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from itertools import chain

from .....contract.events import TextDelta, TokenLogprob
from .token_texts import TokenTexts


class TokenSplit:
    """Divides the text of one choice among its tokens, so that a stop string cuts between two.

        for piece in split.push(text, token_ids, logprobs, is_last=False):
            matcher.push(piece)

    SGLang puts together what was generated while nobody read, and is late with text that ends
    within a character. Where its text is not what its tokens say one by one, items stay whole from
    there on.
    """

    def __init__(self, texts: TokenTexts, choice: int) -> None:
        self._texts = texts
        self._choice = choice
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # Tokens that are not told yet, each with what is left to tell of its text.
        self._untold = deque[tuple[str, TextDelta]]()
        self._is_apart = True

    def push(
        self,
        text: str,
        token_ids: Sequence[int],
        logprobs: Sequence[TokenLogprob] = (),
        *,
        is_last: bool,
    ) -> list[TextDelta]:
        """Gives an item's pieces in order: together they have its text.

        `logprobs` are those of `token_ids`, or none. A token whose text is not there yet comes with
        a later item; the last one brings all that are left.
        """
        for place, token_id in enumerate(token_ids):
            said = self._decoder.decode(self._texts.of(token_id)) if self._is_apart else ""
            own_logprob = tuple(logprobs[place : place + 1])
            self._untold.append((said, TextDelta("", 1, (token_id,), own_logprob, self._choice)))
        pieces: list[TextDelta] = []
        while self._is_apart and self._untold:
            said, token = self._untold[0]
            told = said if text.startswith(said) else text
            if not said.startswith(told):
                self._is_apart = False
            elif said and not told:
                break
            else:
                self._untold.popleft()
                pieces.append(_with_text(token, told))
                text = text.removeprefix(told)
                if told != said:
                    rest = TextDelta("", 0, choice=self._choice)
                    self._untold.appendleft((said.removeprefix(told), rest))
                    break
        if text or ((is_last or not self._is_apart) and self._untold):
            pieces.append(self._join_untold(text))
        return pieces

    def _join_untold(self, text: str) -> TextDelta:
        tokens = [token for _, token in self._untold]
        self._untold.clear()
        return TextDelta(
            text,
            sum(token.num_tokens for token in tokens),
            tuple(chain.from_iterable(token.token_ids for token in tokens)),
            tuple(chain.from_iterable(token.logprobs for token in tokens)),
            self._choice,
        )


def _with_text(token: TextDelta, text: str) -> TextDelta:
    return TextDelta(text, token.num_tokens, token.token_ids, token.logprobs, token.choice)
