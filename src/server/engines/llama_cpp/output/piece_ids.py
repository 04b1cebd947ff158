"""The token ids of the pieces of a stream, whose events name only the last token of each."""

from __future__ import annotations

from typing import Final

from ..client import Json, LlamaCppClient, Refused

_MAX_KNOWN: Final = 4096


class PieceIds:
    """Finds the ids of pieces; a character of several tokens is tokenised, once for all streams.

    A model may have spelled such a character in another way than its tokenizer does: the ids then
    say the same text.
    """

    def __init__(self, client: LlamaCppClient) -> None:
        self._client = client
        self._known: dict[str, tuple[int, ...]] = {}

    async def find(self, event: Json, num_tokens: int) -> tuple[int, ...]:
        """Returns the ids of an event's `num_tokens` tokens; none where they are not known.

        Raises:
            Unreachable: the server does not answer.
        """
        last: list[int] = event.get("tokens", [])
        if num_tokens == len(last):
            return tuple(last)
        text: str = event.get("content", "")
        if not text or not last:
            return ()
        if text not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[text] = await self._tokenize(text)
        # A tokenizer that puts a space before each text has a token more in front.
        ids = self._known[text][-num_tokens:]
        return ids if len(ids) == num_tokens and ids[-1] == last[-1] else ()

    async def _tokenize(self, text: str) -> tuple[int, ...]:
        body = {"content": text, "add_special": False, "parse_special": False}
        try:
            return tuple((await self._client.post("/tokenize", body))["tokens"])
        except Refused:
            return ()
