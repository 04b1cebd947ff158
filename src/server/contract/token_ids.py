"""The token ids of a prompt, of which there may be a million."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, overload

_MAX_ID: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class TokenIds(Sequence[int]):
    """Token ids in four bytes each, which is also how they travel to SGLang's host.

        ids = TokenIds.of([1, 2, 3])
        assert ids[0] == 1 and ids[1:] == TokenIds.of([2, 3])

    `data` holds them as uint32, in this machine's byte order.
    """

    data: bytes = b""

    @classmethod
    def of(cls, ids: Collection[int]) -> TokenIds:
        """Packs ids. One that does not fit becomes the largest, which no vocabulary has."""
        try:
            return cls(array("I", ids).tobytes())
        except OverflowError:
            fitting = (token_id if 0 <= token_id < _MAX_ID else _MAX_ID for token_id in ids)
            return cls(array("I", fitting).tobytes())

    def __len__(self) -> int:
        return len(self.data) // 4

    def __iter__(self) -> Iterator[int]:
        return iter(array("I", self.data))

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> TokenIds: ...

    def __getitem__(self, index: int | slice) -> int | TokenIds:
        view = memoryview(self.data).cast("I")
        return view[index] if isinstance(index, int) else TokenIds(view[index].tobytes())

    def tolist(self) -> list[int]:
        """Unpacks them, for an engine's own input."""
        return array("I", self.data).tolist()
