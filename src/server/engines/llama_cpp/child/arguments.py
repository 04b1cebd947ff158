"""What the child is told on its command line, and what it answers with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

# A cancelled prefill stops within two of these, and it is how long a prefill makes the other
# streams wait. llama.cpp's 512 are no faster: 151 prompt tokens/s against 145 (SmolLM2-135M Q4_1,
# one thread, median of four alternating runs).
_BATCH_TOKENS: Final = 128
# An image of Gemma 3 has 256 tokens that see each other: all of them must be in one batch.
_IMAGE_BATCH_TOKENS: Final = 512


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

    @property
    def batch_tokens(self) -> int:
        """The most tokens that one step computes."""
        return _IMAGE_BATCH_TOKENS if self.projector_path else _BATCH_TOKENS

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
