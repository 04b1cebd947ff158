"""`tokenwire models` and `chat`: talk to a server from the terminal."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..channel import open_blocking_channel
from ..environment import EXIT_CONFIGURATION
from ..generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2, models_pb2, sampling_pb2
from ..generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceStub
from .server_choice import Metadata, ServerChoice

_PIPE_COLUMNS = 200
_LIST_TIMEOUT_S = 10.0
_HELP = "/clear begins a new conversation, /exit ends; Ctrl-C stops an answer."
EXIT_FAILURE = 1


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
    return _with_stub(choice, lambda stub, metadata: _print_models(stub, metadata, as_json=as_json))


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

    def talk(stub: InferenceServiceStub, metadata: Metadata) -> int:
        conversation = _Conversation(stub, metadata, options)
        if message is not None:
            return 0 if conversation.ask(message) else EXIT_FAILURE
        return _interactive(conversation)

    return _with_stub(choice, talk)


def _with_stub(choice: ServerChoice, use: Callable[[InferenceServiceStub, Metadata], int]) -> int:
    target, tls = choice.resolve()
    metadata = choice.credentials()
    with open_blocking_channel(target, tls) as channel:
        try:
            return use(InferenceServiceStub(channel), metadata)
        except grpc.RpcError as error:
            sys.stderr.write(f"{target}: {_explain(error)}\n")
            return EXIT_FAILURE


def _explain(error: grpc.RpcError) -> str:
    if not isinstance(error, grpc.Call):
        return str(error)
    return f"{error.details()} ({error.code().name})"


def _list(stub: InferenceServiceStub, metadata: Metadata) -> inference_pb2.ListModelsResponse:
    request = inference_pb2.ListModelsRequest()
    return stub.ListModels(request, timeout=_LIST_TIMEOUT_S, metadata=metadata)


def _print_models(stub: InferenceServiceStub, metadata: Metadata, *, as_json: bool) -> int:
    answer = _list(stub, metadata)
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

    def __init__(
        self, stub: InferenceServiceStub, metadata: Metadata, options: ChatOptions
    ) -> None:
        self._stub = stub
        self._metadata = metadata
        self._options = options
        self._messages: list[chat_pb2.Message] = []
        self.model = options.model or self._first_model()
        self.clear()

    def clear(self) -> None:
        """Forgets what was said."""
        self._messages.clear()
        if self._options.system:
            self._messages.append(_message(chat_pb2.ROLE_SYSTEM, self._options.system))

    def ask(self, text: str) -> bool:
        """Streams the answer to `text`; False where Ctrl-C stopped it."""
        self._messages.append(_message(chat_pb2.ROLE_USER, text))
        request = inference_pb2.ChatRequest(
            model=self.model, messages=self._messages, sampling=self._sampling()
        )
        answer = _Answer()
        call = self._stub.Chat(request, metadata=self._metadata)
        try:
            answer.show(call)
        except KeyboardInterrupt:
            call.cancel()
            answer.close("stopped")
            self._messages.pop()
            return False
        except grpc.RpcError:
            self._messages.pop()
            raise
        self._messages.append(_message(chat_pb2.ROLE_ASSISTANT, answer.text))
        return True

    def _sampling(self) -> sampling_pb2.Sampling:
        sampling = sampling_pb2.Sampling()
        if self._options.temperature is not None:
            sampling.temperature = self._options.temperature
        if self._options.max_tokens is not None:
            sampling.max_tokens = self._options.max_tokens
        if self._options.seed is not None:
            sampling.seed = self._options.seed
        return sampling

    def _first_model(self) -> str:
        answer = _list(self._stub, self._metadata)
        serving = [m for m in answer.models if m.state == models_pb2.MODEL_STATE_SERVING]
        first = next(iter(serving or answer.models), None)
        return first.id if first else ""


class _Answer:
    """One answer on the terminal: the text as it comes, and below it the speed."""

    def __init__(self) -> None:
        self.text = ""
        self._out = Console(highlight=False, markup=False, soft_wrap=True)
        self._err = Console(highlight=False, markup=False, stderr=True)
        self._live = Live(console=self._out, transient=True, refresh_per_second=10)
        self._line = ""
        self._started_s = time.monotonic()
        self._first_s: float | None = None

    def show(self, events: Iterable[inference_pb2.ChatResponse]) -> None:
        """Writes the events of a stream out as they arrive."""
        finished: events_pb2.Finished | None = None
        if self._out.is_terminal:
            self._live.start()
        try:
            for event in events:
                for delta in event.deltas.deltas:
                    self._write(delta.text.text)
                if event.HasField("finished"):
                    finished = event.finished
                self._show_status(event.position)
        finally:
            self._end_live()
        if not self._out.is_terminal:
            sys.stdout.write("\n")
            sys.stdout.flush()
        if finished is not None:
            self.close(self._summary(finished))

    def close(self, status: str) -> None:
        """Writes the last line, for people: it goes to standard error."""
        self._end_live()
        self._err.print(status, style="dim")

    def _write(self, text: str) -> None:
        if self._first_s is None and text:
            self._first_s = time.monotonic()
        self.text += text
        if not self._out.is_terminal:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        # Only the last line changes in place: a terminal cannot redraw what has scrolled away.
        self._line += text
        *whole, self._line = self._line.split("\n")
        for line in whole:
            self._out.print(line)
        while len(self._line) > self._out.width:
            cut = self._line.rfind(" ", 0, self._out.width)
            head = self._line[: cut if cut > 0 else self._out.width]
            self._out.print(head)
            self._line = self._line[len(head) :].lstrip(" ")

    def _show_status(self, position: int) -> None:
        if not self._live.is_started:
            return
        elapsed_s = time.monotonic() - (self._first_s or self._started_s)
        # An engine sends a delta for nearly every token; the exact number comes at the end.
        speed = f"{(position - 1) / elapsed_s:.1f} tokens/s" if position > 1 and elapsed_s else ""
        self._live.update(Text.assemble(self._line, "\n", (speed, "dim")))

    def _end_live(self) -> None:
        if self._live.is_started:
            self._live.stop()
            self._out.print(self._line)

    def _summary(self, finished: events_pb2.Finished) -> str:
        first_s = (self._first_s or time.monotonic()) - self._started_s
        usage, speed = finished.usage, finished.timings.tokens_per_second
        return (
            f"{usage.num_completion_tokens} tokens, {speed:.1f} tokens/s, "
            f"first after {first_s:.2f} s"
        )


def _message(role: chat_pb2.Role.ValueType, text: str) -> chat_pb2.Message:
    return chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=text)])


def _interactive(conversation: _Conversation) -> int:
    # Gives the prompt its history and editing keys; importing it is what turns that on.
    importlib.import_module("readline")

    sys.stdout.write(f"{conversation.model}. {_HELP}\n")
    while True:
        try:
            text = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n")
            return 0
        if text in ("/exit", "/quit"):
            return 0
        if text == "/clear":
            conversation.clear()
        elif text.startswith("/"):
            sys.stdout.write(f"{_HELP}\n")
        elif text:
            try:
                conversation.ask(text)
            except grpc.RpcError as error:
                sys.stderr.write(f"{_explain(error)}\n")
