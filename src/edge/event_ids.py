"""Ids of events, by which the client of a stream takes it up again where it was cut."""

from __future__ import annotations

from .errors import Failure
from .sse import Event, EventEncoder

END = "end"
"""The id of a stream's last event: there is nothing behind it, and nothing to come back for."""


class WithIds:
    """Writes the events of another encoder, one for each message, with ids.

    An event's id is the `position` of its message. A message that nothing is written of has none.
    """

    def __init__(self, encoder: EventEncoder) -> None:
        self._encoder = encoder

    def encode(self, event: Event) -> bytes:
        """Returns one event with an id, or none."""
        is_last = event.WhichOneof("event") == "finished"
        return _with_id(END if is_last else self._id_of(event), self._encoder.encode(event))

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the one event that ends a failed stream.

        It is the last one, unless the request may go on: the front is out of reach, or the edge
        ends. Its client comes back then.
        """
        is_last = bool(failure.reason) and not failure.is_own
        data = self._encoder.encode_failure(failure)
        return _with_id(END, data) if is_last else data

    def heartbeat(self) -> bytes:
        """Returns an event that says nothing, and has no id."""
        return self._encoder.heartbeat()

    def _id_of(self, event: Event) -> str:
        return str(event.position)


def _with_id(event_id: str, data: bytes) -> bytes:
    return b"id: " + event_id.encode() + b"\n" + data if data else data
