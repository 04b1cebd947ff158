"""What the stream encoders of dialects share that send text alone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..generated.tokenwire.v1 import events_pb2
from .sse import Event


class TextStream(ABC):
    """Splits a stream into texts and its end; a subclass writes each of them."""

    def __init__(self) -> None:
        self._model = ""
        self._ended = events_pb2.ChoiceFinished()

    def encode(self, event: Event) -> bytes:
        """Returns one event for every text delta, and what ends the stream."""
        kind = event.WhichOneof("event")
        if kind == "deltas":
            return b"".join([self._encode_delta(delta) for delta in event.deltas.deltas])
        if kind == "started":
            self._model = event.started.model
        elif kind == "finished":
            return self._encode_end(event.finished)
        return b""

    def _encode_delta(self, delta: events_pb2.Delta) -> bytes:
        kind = delta.WhichOneof("kind")
        if kind == "text" and (text := delta.text.text):
            return self._encode_text(text)
        if kind == "finished":
            self._ended = delta.finished
        return b""

    @abstractmethod
    def _encode_text(self, text: str) -> bytes: ...

    @abstractmethod
    def _encode_end(self, finished: events_pb2.Finished) -> bytes: ...
