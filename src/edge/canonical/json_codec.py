"""Canonical proto-JSON to and from messages: pure functions."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from ..body import BODY_FIELD
from ..dialect import FailureAnswer
from ..errors import Failure, invalid
from ..sse import Event, data_event
from .field_values import field_values

MessageT = TypeVar("MessageT", bound=Message)


def decode(body: dict[str, Any], message_type: type[MessageT]) -> MessageT:
    """Reads a message, strictly: unknown fields and wrong types are refused.

    Raises:
        EdgeError: the body is not such a message; names the field.
    """
    message = message_type()
    values = list(field_values(body, cast("Descriptor", message.DESCRIPTOR)))
    try:
        json_format.ParseDict(body, message)
    except json_format.ParseError:
        for value in values:
            value.check()
        raise invalid(BODY_FIELD, "is not the message of this route") from None
    return message


def encode(message: Message) -> dict[str, Any]:
    """Writes a message."""
    return json_format.MessageToDict(message)


def encode_failure(failure: Failure) -> FailureAnswer:
    """Writes a failure as its `google.rpc.Status`."""
    traits = failure.traits
    return FailureAnswer(traits.http_status, failure.retry_after_s, encode(failure.status))


class CanonicalStream:
    """The events of a stream route: every message as it is, a failure as `{"error": Status}`."""

    def encode(self, event: Event) -> bytes:
        """Returns one event."""
        return data_event(encode(event))

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the last event of a failed stream."""
        return data_event({"error": encode(failure.status)})

    def heartbeat(self) -> bytes:
        """Returns a message without an event."""
        return data_event({})
