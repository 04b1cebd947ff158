"""How many connections are open at once, and which one makes room for the next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from ..errors import EdgeError

LIMITS = ("capacity", "peer", "slow_headers", "slow_reader")
"""What connections are refused or cut for, as the metrics say it."""


class Resting(Protocol):
    """A connection, which may be closed while it waits for a request."""

    def make_room(self) -> None:
        """Closes it: another one needs its place."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take, in seconds and bytes."""

    head_timeout_s: float
    idle_timeout_s: float
    write_timeout_s: float
    max_header_bytes: int


class OpenConnections:
    """Counts connections. `max_per_peer` is for each address; 0: no limit.

    Where all places are taken the connection that has waited longest for a request gives up its
    own. So whoever only holds connections open, or never finishes his headers, shuts nobody out.
    """

    def __init__(self, max_open: int, max_per_peer: int = 0) -> None:
        self._max_open = max_open
        self._max_per_peer = max_per_peer
        self._peers: Counter[str] = Counter()
        self._num_open = 0
        self._waiting: dict[Resting, None] = {}  # in the order in which they began to
        self.num_cut: dict[str, int] = dict.fromkeys(LIMITS, 0)

    @property
    def num_open(self) -> int:
        """Connections that have a place."""
        return self._num_open

    def enter(self, peer: str) -> None:
        """Gives a new connection a place.

        Raises:
            EdgeError: it gets none.
        """
        if self._max_per_peer and self._peers[peer] >= self._max_per_peer:
            self.num_cut["peer"] += 1
            raise _refusal(f"{self._max_per_peer} connections are open from this address")
        if self._num_open >= self._max_open:
            self.num_cut["capacity"] += 1
            if not self._waiting:
                raise _refusal(f"all {self._max_open} connections are in use")
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.make_room()
        self._num_open += 1
        self._peers[peer] += 1

    def leave(self, connection: Resting, peer: str) -> None:
        """Takes back the place of a connection that is closed."""
        self._waiting.pop(connection, None)
        self._num_open -= 1
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]

    def rest(self, connection: Resting) -> None:
        """Notes that a connection waits for a request from now on."""
        self._waiting[connection] = None

    def work(self, connection: Resting) -> None:
        """Notes that a connection has a request."""
        self._waiting.pop(connection, None)


def _refusal(message: str) -> EdgeError:
    return EdgeError("AT_CAPACITY", message)
