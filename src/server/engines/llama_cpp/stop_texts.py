"""The texts of stop token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ...contract.errors import EngineLost, InvalidRequest
from .client import LlamaCppClient, Refused, Unreachable

_REPLACEMENT_CHARACTER: Final = "\ufffd"


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
