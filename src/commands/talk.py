"""`tokenwire models` and `chat`: talk to a server from the terminal."""

from __future__ import annotations

import importlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table

from ..channel import ChannelTls
from ..client import (
    Client,
    RetryPolicy,
    Stream,
    TokenwireError,
    assistant,
    system,
    user,
)
from ..environment import EXIT_CONFIGURATION
from ..generated.tokenwire.v1 import chat_pb2, inference_pb2, models_pb2
from ..lifecycle import EXIT_INTERRUPTED
from .answer_view import AnswerView
from .server_choice import ServerChoice

_PIPE_COLUMNS = 200
_LIST_TIMEOUT_S = 10.0
_HELP = "/clear begins a new conversation, /exit ends; Ctrl-C stops an answer."
EXIT_FAILURE = 1
# Words of gRPC, whose status says no more than UNAVAILABLE.
_NO_CONNECTION = "last error: "
_NOBODY_THERE = "Failed to connect to remote host"


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What a conversation is held with. None: the server's default."""

    model: str | None = None
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


def list_models(choice: ServerChoice, *, as_json: bool) -> int:
    """Prints the models of a server; returns the exit status.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    return _with_client(choice, lambda client: _print_models(client, as_json=as_json))


def chat(choice: ServerChoice, message: str | None, options: ChatOptions) -> int:
    """Answers `message`, or holds a conversation where there is none; returns the exit status.

    Raises:
        ConfigurationError: the environment holds mistakes.
    """
    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read()
    if message is not None and not message.strip():
        sys.stderr.write("There is nothing to answer: the message is empty.\n")
        return EXIT_CONFIGURATION

    def talk(client: Client) -> int:
        conversation = _Conversation(client, options)
        if not conversation.model:
            sys.stderr.write("The server offers no model.\n")
            return EXIT_FAILURE
        if message is not None:
            return 0 if conversation.ask(message) else EXIT_INTERRUPTED
        return _interactive(conversation)

    return _with_client(choice, talk)


def _with_client(choice: ServerChoice, use: Callable[[Client], int]) -> int:
    target, tls = choice.resolve()
    # A person decides how long to wait, and whether to try again.
    once = RetryPolicy(max_attempts=1)
    key = choice.find_key()
    with Client(target, tls=tls, timeout_s=None, retries=once, api_key=key) as client:
        try:
            return use(client)
        except TokenwireError as error:
            sys.stderr.write(f"{target}: {error}{_hint(error, tls)}\n")
            return EXIT_FAILURE


def _hint(error: TokenwireError, tls: ChannelTls | None) -> str:
    """Says what to try where a server was there, and hung up before any call."""
    if (
        error.code is not grpc.StatusCode.UNAVAILABLE
        or _NO_CONNECTION not in error.failure.message
        or _NOBODY_THERE in error.failure.message
    ):
        return ""
    if tls is None:
        return " (does the server speak TLS? try --tls)"
    if tls.certificate is None:
        return " (the certificate of the server or of this client may be refused)"
    return ""


def _print_models(client: Client, *, as_json: bool) -> int:
    models = client.list_models(timeout_s=_LIST_TIMEOUT_S)
    answer = inference_pb2.ListModelsResponse(models=models)
    if as_json:
        sys.stdout.write(json.dumps(MessageToDict(answer), indent=2) + "\n")
        return 0
    table = Table("MODEL", "STATE", "ENGINE", "DEVICE", "FORMAT", "CONTEXT", box=None)
    for model in answer.models:
        table.add_row(
            model.id,
            _state(model),
            model.engine,
            model.device,
            _format(model),
            str(model.context_length or ""),
        )
    # The id is there to be copied: never cut, also where no terminal tells its width.
    table.columns[0].no_wrap = True
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    console = Console(width=width, highlight=False, markup=False)
    console.print(table)
    # Below the table: a reason is too long for a column.
    for model in answer.models:
        if model.failure:
            console.print(f"{model.id} failed: {model.failure}", soft_wrap=True)
    return 0


def _state(model: models_pb2.Model) -> str:
    name = models_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower()
    return f"{name}: {model.progress}" if model.progress else name


def _format(model: models_pb2.Model) -> str:
    if model.base_model:
        return f"LoRA of {model.base_model}"
    return " ".join(part for part in (model.format, model.quantization) if part)


class _Conversation:
    """The messages so far, and how the next one is answered."""

    def __init__(self, client: Client, options: ChatOptions) -> None:
        self._client = client
        self._options = options
        self._messages: list[chat_pb2.Message] = []
        self.model = options.model or self._first_model()
        self.clear()

    def clear(self) -> None:
        """Forgets what was said."""
        self._messages.clear()
        if self._options.system:
            self._messages.append(system(self._options.system))

    def ask(self, text: str) -> bool:
        """Streams the answer to `text`; False where Ctrl-C stopped it."""
        self._messages.append(user(text))
        answer = AnswerView()
        stopped = threading.Event()
        options = self._options
        try:
            with (
                self._client.chat(
                    self._messages,
                    model=self.model,
                    temperature=options.temperature,
                    max_tokens=options.max_tokens,
                    seed=options.seed,
                ) as stream,
                _closed_by_interrupt(stream, stopped),
            ):
                answer.show(stream)
        except TokenwireError:
            self._messages.pop()
            if stopped.is_set():
                answer.close("stopped")
                return False
            raise
        self._messages.append(assistant(answer.text))
        return True

    def _first_model(self) -> str:
        models = self._client.list_models(timeout_s=_LIST_TIMEOUT_S)
        serving = [m for m in models if m.state == models_pb2.MODEL_STATE_SERVING]
        first = next(iter(serving or models), None)
        return first.id if first else ""


@contextmanager
def _closed_by_interrupt(stream: Stream, stopped: threading.Event) -> Generator[None]:
    """Has Ctrl-C close a stream and set `stopped`, for the body's time.

    An exception would be raised wherever this thread is at that moment, and be lost in a place
    where Python ignores it, as where an object is deleted.
    """

    def stop(_number: int, _frame: object) -> None:
        stopped.set()
        stream.close()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interactive(conversation: _Conversation) -> int:
    # Gives the prompt its history and editing keys; importing it is what turns that on.
    importlib.import_module("readline")

    sys.stdout.write(f"{conversation.model}. {_HELP}\n")
    while True:
        try:
            text = input("> ").strip()
        except (EOFError, KeyboardInterrupt) as end:
            sys.stdout.write("\n")
            return EXIT_INTERRUPTED if isinstance(end, KeyboardInterrupt) else 0
        if text in ("/exit", "/quit"):
            return 0
        if text == "/clear":
            conversation.clear()
        elif text.startswith("/"):
            sys.stdout.write(f"{_HELP}\n")
        elif text:
            try:
                conversation.ask(text)
            except TokenwireError as error:
                sys.stderr.write(f"{error}\n")
