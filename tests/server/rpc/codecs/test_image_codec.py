"""Images between protos and the domain."""

from __future__ import annotations

import pytest
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2, models_pb2
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, ImagePart, Role
from tokenwire.server.media.image_limits import ImageLimits
from tokenwire.server.media.image_source import ImageSource
from tokenwire.server.request.calls import CallContext
from tokenwire.server.rpc.codecs.image_codec import encode_image_limits
from tokenwire.server.rpc.codecs.request_codec import decode_chat

USER = chat_pb2.ROLE_USER


def text(value: str) -> chat_pb2.ContentPart:
    return chat_pb2.ContentPart(text=value)


def image(**source: object) -> chat_pb2.ContentPart:
    return chat_pb2.ContentPart(image=chat_pb2.Image(**source))  # type: ignore[arg-type] # a oneof


def chat(*messages: tuple[chat_pb2.Role, list[chat_pb2.ContentPart]]) -> inference_pb2.ChatRequest:
    return inference_pb2.ChatRequest(
        model="m",
        messages=[chat_pb2.Message(role=role, content=parts) for role, parts in messages],
    )


def test_images_keep_their_places() -> None:
    """Text and images stay in order, images are counted over the whole request."""
    call = decode_chat(
        chat(
            (USER, [text("a"), image(data=b"1"), text("b")]),
            (chat_pb2.ROLE_ASSISTANT, [text("c")]),
            (USER, [image(url="https://x"), image(data=b"2")]),
        ),
        CallContext("r"),
    )
    assert call.prompt == ChatPrompt(
        (
            ChatMessage(Role.USER, "ab", parts=("a", ImagePart(0), "b")),
            ChatMessage(Role.ASSISTANT, "c"),
            ChatMessage(Role.USER, "", parts=(ImagePart(1), ImagePart(2))),
        )
    )
    assert call.images == (
        ImageSource("messages[0].content[1].image", data=b"1"),
        ImageSource("messages[2].content[0].image", url="https://x"),
        ImageSource("messages[2].content[1].image", data=b"2"),
    )


@pytest.mark.parametrize(
    ("role", "part"),
    [
        (USER, image(data=b"")),
        (USER, image(url="")),
        (chat_pb2.ROLE_SYSTEM, image(data=b"1")),
        (chat_pb2.ROLE_ASSISTANT, image(data=b"1")),
    ],
)
def test_refused_by_name(role: chat_pb2.Role, part: chat_pb2.ContentPart) -> None:
    """An empty image, and one that the user did not send, are refused by their field."""
    with pytest.raises(InvalidRequest) as refused:
        decode_chat(chat((role, [text("a"), part])), CallContext("r"))
    assert refused.value.violations[0][0] == "messages[0].content[1].image"


def test_limits() -> None:
    """Limits are told with the kinds of file, and whether images are fetched."""
    limits = ImageLimits(max_images=2, max_bytes=3, max_pixels=4, fetches=True)
    assert encode_image_limits(limits) == models_pb2.ImageLimits(
        max_images=2,
        max_bytes=3,
        max_pixels=4,
        max_side=8192,
        max_side_ratio=100,
        formats=["PNG", "JPEG", "WebP", "GIF"],
        fetches=True,
    )
