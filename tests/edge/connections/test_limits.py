"""Who has a place, and who gives up its own."""

from __future__ import annotations

import pytest
from tokenwire.edge.connections.limits import OpenConnections
from tokenwire.edge.errors import EdgeError


class Waiting:
    """A connection that remembers that it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def make_room(self) -> None:
        self.is_closed = True


def opened(connections: OpenConnections, peer: str = "a") -> Waiting:
    """A connection that has a place and waits for a request."""
    connections.enter(peer)
    connection = Waiting()
    connections.rest(connection)
    return connection


def test_the_longest_wait_gives_way() -> None:
    """What counts is the time since the last request, not since the connection was opened."""
    connections = OpenConnections(2)
    first, second = opened(connections), opened(connections)
    connections.work(first)
    connections.rest(first)
    opened(connections)
    assert (first.is_closed, second.is_closed) == (False, True)
    assert connections.num_cut["capacity"] == 1


def test_what_has_a_request_keeps_its_place() -> None:
    """With all of them at work the next one gets none, until one is closed."""
    connections = OpenConnections(1)
    only = opened(connections)
    connections.work(only)
    with pytest.raises(EdgeError, match="all 1 connections are in use"):
        connections.enter("b")
    connections.leave(only, "a")
    connections.enter("b")
    assert connections.num_open == 1


def test_addresses_are_counted_apart() -> None:
    """One at its limit is refused, and served again behind its own leaving."""
    connections = OpenConnections(9, 1)
    of_a = opened(connections)
    opened(connections, "b")
    with pytest.raises(EdgeError, match="1 connections are open from this address"):
        connections.enter("a")
    assert not of_a.is_closed
    connections.leave(of_a, "a")
    connections.enter("a")
