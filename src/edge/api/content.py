"""What a message of `/api/chat` says: a string, or an array of text parts as OpenAI has them."""

from __future__ import annotations

from ...generated.tokenwire.v1 import chat_pb2
from ...item_limits import max_items_of
from ..body import json_type
from ..errors import invalid
from ..fields import Fields

_FIELD = "content"
_MAX_PARTS = max_items_of(chat_pb2.Message.DESCRIPTOR.fields_by_name[_FIELD])
_MAX_SHOWN = 100


def decode_content(message: Fields) -> list[chat_pb2.ContentPart]:
    """Reads the content of a message.

    Raises:
        EdgeError: absent, of the wrong type, without parts as OpenAI refuses it too, or with a part
            that is no text; names the part.
    """
    content = message.get(_FIELD)
    if isinstance(content, str):
        return [chat_pb2.ContentPart(text=content)]
    if isinstance(content, list) and not content:
        raise invalid(message.path_of(_FIELD), "must have at least 1 item, got 0")
    if isinstance(content, list):
        return [_decode_part(part) for part in message.objects(_FIELD, _MAX_PARTS)]
    problem = "must be a string or an array of text parts"
    problem = (
        f"is required and {problem}" if content is None else f"{problem}, got {json_type(content)}"
    )
    raise invalid(message.path_of(_FIELD), problem)


def _decode_part(part: Fields) -> chat_pb2.ContentPart:
    kind = part.string("type")
    if kind != "text":
        raise invalid(
            part.path_of("type"), f"only parts of text are taken here, got '{kind[:_MAX_SHOWN]}'"
        )
    return chat_pb2.ContentPart(text=part.string("text"))
