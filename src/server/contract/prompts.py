"""What a generation begins with: conversations, texts and ids, and what an engine reads of them.

They travel to SGLang's host and back as they are.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from .token_ids import TokenIds
from .tools import ANY_TOOL, AnswerForm, Tool, ToolCall, ToolChoice


class Role(enum.Enum):
    """Who a chat message is from."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ImagePart:
    """Where an image stands in a message: it is `images[index]` of the prompt."""

    index: int


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation; `content` is all of its text.

    `tool_calls` are those of an assistant's message, `tool_call_id` is the call that a message of
    role TOOL answers. `parts` are text and images in order, empty in a message without an image.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    parts: tuple[str | ImagePart, ...] = ()


class _Prompt(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What to generate from. The tag tells which one it is between front and SGLang's host."""


class TextPrompt(_Prompt, frozen=True):
    """Text to continue. Not empty."""

    text: str


class TokenPrompt(_Prompt, frozen=True):
    """Token ids to continue. Not empty; the engine checks them against its vocabulary."""

    token_ids: TokenIds


class InfillPrompt(_Prompt, frozen=True):
    """Text before and after a gap that the answer fills."""

    prefix: str
    suffix: str


class ChatPrompt(_Prompt, frozen=True):
    """A conversation, rendered with the model's own chat template. At least one message.

    `thinks` turns thinking on or off; None: the template's own default. `answers_at_once`: the
    whole answer is one text, with neither thinking nor calls in it.
    With `continue_last_message` the answer goes on where the last message ends, which is the
    assistant's. `images` are PNG files, RGB and upright, which the front has decoded and written
    anew.
    """

    messages: tuple[ChatMessage, ...]
    template_arguments: Mapping[str, object] = msgspec.field(default_factory=dict[str, object])
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ANY_TOOL
    thinks: bool | None = None
    continue_last_message: bool = False
    answers_at_once: bool = False
    images: tuple[bytes, ...] = ()


Prompt = TextPrompt | TokenPrompt | InfillPrompt | ChatPrompt


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt as the engine reads it.

    `token_ids` is never empty and every id is below the vocabulary's size. `stop` are the stop
    strings that the chat template brings, beside the request's own. `form` is how the answer is
    read, None where all of it is text.

    With `images`, which are PNG files, the engine reads `num_image_tokens` beside `token_ids`.
    `ids_with_images` are its ids with those, where the engine tells them: of each image, so many
    times its mark. `marked_text` is the prompt as text, with a mark for each image, for an engine
    that reads that instead of ids.
    """

    token_ids: TokenIds
    stop: tuple[str, ...] = ()
    form: AnswerForm | None = None
    images: tuple[bytes, ...] = ()
    num_image_tokens: int = 0
    marked_text: str = ""
    ids_with_images: TokenIds | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens that it takes of the context."""
        return len(self.token_ids) + self.num_image_tokens


class PlainText(msgspec.Struct, frozen=True, array_like=True):
    """A text to tokenise, with no template around it. May be empty.

    `parse_special` reads the names of special tokens as those tokens; otherwise they are text.
    """

    text: str
    add_special: bool = False
    parse_special: bool = False
    wants_pieces: bool = False


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text as tokens; `pieces` are the bytes of each where they were asked for."""

    token_ids: TokenIds
    pieces: tuple[bytes, ...] = ()
