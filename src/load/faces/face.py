"""What every door of a server does for a measurement."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from .exchange import Exchange


class Task(enum.StrEnum):
    """Whether a prompt is a message to answer or a text to continue."""

    CHAT = "chat"
    COMPLETION = "completion"


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One prompt, and how long its answer may become.

    `num_prompt_tokens` is what the prompt was made to have; the server may count otherwise.
    """

    prompt: str
    max_tokens: int
    num_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Sending:
    """What all requests of a measurement have in common. `temperature` None: the server's own."""

    model: str
    task: Task = Task.CHAT
    ignores_eos: bool = True
    temperature: float | None = None
    timeout_s: float = 600.0


class RequestFailed(Exception):
    """A request did not get its whole answer. `kind` is the same for all that failed alike."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Face(Protocol):
    """A door of one server, used by many requests at once."""

    @property
    def name(self) -> str:
        """What the door is called: grpc, rest or openai."""
        ...

    @property
    def address(self) -> str:
        """Where it is, for people."""
        ...

    async def find_model(self) -> str:
        """Returns the first model that serves.

        Raises:
            RequestFailed: the server has none, or did not answer.
        """
        ...

    async def count_prompt(self, sending: Sending, prompt: str) -> int | None:
        """Returns the prompt tokens as the model would read them; None: the server has no count."""
        ...

    async def send(self, sending: Sending, request: LoadRequest, exchange: Exchange) -> None:
        """Sends a request, and notes in `exchange` what comes until its answer is whole.

        Raises:
            RequestFailed: it was refused, or the answer is not whole.
        """
        ...
