"""What the child is told on its command line, and what it answers with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class ChildArguments:
    """The start of one llama.cpp server.

    `socket_path` lies in a fresh private folder, which the child removes when it ends by itself.
    `chat_template` replaces the file's own, empty keeps it. `unpacked_path` is the file that the
    weights are unpacked to, and loaded from; empty: they are loaded as they are. `projector_path`
    is the file that makes it see, empty for none; `image_mark` is what stands for an image in a
    prompt.
    """

    model_path: str
    socket_path: str
    num_slots: int
    pool_tokens: int
    num_threads: int
    chat_template: str = ""
    unpacked_path: str = ""
    projector_path: str = ""
    image_mark: str = ""

    def to_json(self) -> str:
        """Writes the one command line argument of the child."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> ChildArguments:
        """Reads what `to_json` wrote."""
        return ChildArguments(**json.loads(text))


@dataclass(frozen=True, slots=True)
class ChildReport:
    """The one line that the child prints: its version, or why it cannot serve.

    `error` is in our words, and tells whoever lists the models what to do; `detail` holds words of
    others, for the log. With a version, it says why the weights stay packed.
    """

    version: str = ""
    error: str = ""
    detail: str = ""

    def to_json(self) -> str:
        """Writes the line, without its end."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str | bytes) -> ChildReport:
        """Reads what `to_json` wrote."""
        return ChildReport(**json.loads(text))
