"""What a person sees who starts the service in a terminal: addresses, progress, what to try."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from .addresses import LOCALHOST, Addresses
from .channel import open_channel
from .generated.tokenwire.v1 import inference_pb2, models_pb2
from .generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceStub
from .logs.configure import LogSink

if TYPE_CHECKING:
    from .generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceAsyncStub

_POLL_S = 0.2
_CALL_TIMEOUT_S = 5.0
_PLAIN_EVERY_S = 5.0
_BAR_WIDTH = 24
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ERASE = "\r\x1b[K"
_MEASURED = "a step with a fraction"


class StatusLine:
    """One line at the bottom of a terminal that changes in place; plain lines elsewhere."""

    def __init__(self, sink: LogSink) -> None:
        self.is_terminal = sink.isatty()
        self._sink = sink
        self._text = ""
        self._said = ""
        self._said_at_s = 0.0

    def show(self, text: str, kind: str) -> None:
        """Shows `text`; where there is no terminal, only when `kind` changes or now and then."""
        if self.is_terminal:
            self._text = text
            self._draw()
            return
        now_s = time.monotonic()
        if kind == self._said and now_s - self._said_at_s < _PLAIN_EVERY_S:
            return
        self._said, self._said_at_s = kind, now_s
        self._sink.write(f"{text}\n")

    def write(self, text: str, /) -> int:
        """Writes whole lines above the status line."""
        # In one piece: nothing of others comes in between.
        self._sink.write(f"{_ERASE}{text}{_ERASE}{self._text}" if self._text else text)
        return len(text)

    def write_line(self, line: bytes) -> None:
        """Writes one line of a child above the status line."""
        self.write(line.decode(errors="replace").rstrip("\n") + "\n")

    def clear(self) -> None:
        """Takes the status line away."""
        if self._text:
            self._sink.write(_ERASE)
        self._text = ""

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self.is_terminal

    def _draw(self) -> None:
        if self._text:
            self._sink.write(f"{_ERASE}{self._text}")


async def welcome(
    line: StatusLine, addresses: Addresses, engines: Mapping[str, str], *, needs_key: bool = False
) -> None:
    """Shows how far the models are until the service is ready, then what to try; ends there.

    `engines` says for each model id which engine runs it. Models that cannot be loaded are told
    with the reason; when none can be, it ends, too. Where calls need a key it has none, and shows
    no more than that the service is ready.
    """
    started_s = time.monotonic()
    line.write(_head(addresses, engines))
    async with open_channel(addresses.own_target or addresses.grpc) as channel:
        stub = InferenceServiceStub(channel)
        changes = _StateChanges(engines)
        turn = 0
        while True:
            models = () if needs_key else await _models(stub)
            elapsed_s = time.monotonic() - started_s
            if needs_key and await _is_ready(addresses):
                line.clear()
                line.write(f"Ready after {elapsed_s:.1f} s; calls need an API key.\n")
                return
            if reported := changes.report(models, elapsed_s):
                line.clear()
                line.write(reported)
            if models and all(model.state == models_pb2.MODEL_STATE_FAILED for model in models):
                return
            usable = _first_usable(models)
            if usable is not None and await _is_ready(addresses):
                line.clear()
                facts = f": {_facts(usable)}" if len(engines) == 1 and usable.context_length else ""
                line.write(f"Ready after {elapsed_s:.1f} s{facts}.\n\n")
                line.write(_suggestions(addresses, usable))
                return
            step, fraction = _step(models)
            spinner = _SPINNER[turn % len(_SPINNER)] + " " if line.is_terminal else ""
            bar = _bar(fraction) if line.is_terminal else ""
            # What has a fraction says with it how far it is, and so changes all the time.
            kind = step if fraction is None else _MEASURED
            line.show(f"{spinner}{bar}{step} ({elapsed_s:.0f} s)", kind)
            turn += 1
            await asyncio.sleep(_POLL_S)  # progress is for those who ask


class _StateChanges:
    """Remembers which state of each model was reported, so that it is reported once."""

    def __init__(self, engines: Mapping[str, str]) -> None:
        self._only_model = next(iter(engines)) if len(engines) == 1 else None
        self._reported: dict[str, models_pb2.ModelState.ValueType] = {}

    def report(self, models: Iterable[models_pb2.Model], elapsed_s: float) -> str:
        """Returns a line for each model that came to a state worth one."""
        return "".join(
            self._line(model, elapsed_s)
            for model in models
            if model.state != self._reported.get(model.id, models_pb2.MODEL_STATE_LOADING)
        )

    def _line(self, model: models_pb2.Model, elapsed_s: float) -> str:
        self._reported[model.id] = model.state
        if model.state == models_pb2.MODEL_STATE_FAILED:
            who = "The model" if model.id == self._only_model else model.id
            return f"{who} cannot be loaded: {model.failure}\n"
        if model.state == models_pb2.MODEL_STATE_UNLOADED:
            return f"{model.id} is loaded when a request asks for it\n"
        if model.state != models_pb2.MODEL_STATE_SERVING or model.id == self._only_model:
            return ""  # the only one is reported with what to try
        return f"{model.id} serves after {elapsed_s:.1f} s: {_facts(model)}\n"


def _head(addresses: Addresses, engines: Mapping[str, str]) -> str:
    if len(engines) == 1:
        ((model, engine),) = engines.items()
        served = f" {model}\n  engine  {engine}\n"
    else:
        lines = (f"  {model}\n    engine  {engine}\n" for model, engine in engines.items())
        served = f" {len(engines)} models\n" + "".join(lines)
    secured = " in TLS" if addresses.has_tls else ""
    return (
        f"tokenwire serves{served}  gRPC    {addresses.grpc}{secured}\n  HTTP    {addresses.http}\n"
    )


async def _models(stub: InferenceServiceAsyncStub) -> Sequence[models_pb2.Model]:
    try:
        answer = await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=_CALL_TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return ()
    return answer.models


def _first_usable(models: Iterable[models_pb2.Model]) -> models_pb2.Model | None:
    """Returns the first model that serves, or else the first that a request would load."""
    for state in (models_pb2.MODEL_STATE_SERVING, models_pb2.MODEL_STATE_UNLOADED):
        for model in models:
            if model.state == state:
                return model
    return None


def _step(models: Sequence[models_pb2.Model]) -> tuple[str, float | None]:
    if not models:
        return "starting the server", None
    loading = [
        model
        for model in models
        if model.state == models_pb2.MODEL_STATE_LOADING and not model.base_model
    ]
    if not loading:
        return "starting HTTP", None
    # Of several the one that is worked at: those that wait for it tell no fraction.
    model = next((model for model in loading if model.HasField("progress_fraction")), loading[0])
    has_fraction = model.HasField("progress_fraction")
    step = model.progress or "loading"
    if len(models) > 1:
        step = f"{model.id}: {step}"
    return step, model.progress_fraction if has_fraction else None


def _bar(fraction: float | None) -> str:
    if fraction is None:
        return ""
    filled = round(fraction * _BAR_WIDTH)
    return f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] "


async def _is_ready(addresses: Addresses) -> bool:
    try:
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                LOCALHOST, addresses.http_port, ssl=_trust_all() if addresses.has_tls else None
            )
            try:
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _trust_all() -> ssl.SSLContext:
    # For one word of a process of our own, on this machine, whatever name its certificate has.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _suggestions(addresses: Addresses, model: models_pb2.Model) -> str:
    body = {
        "model": model.id,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    data = f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    return (
        "Three things to try in another terminal:\n"
        f"  {addresses.curl} -s {addresses.http}/api/chat {data}\n"
        f"  {addresses.curl} -sN {addresses.http}/api/chat/stream {data}\n"
        f"  {_own_command()} chat{addresses.chat_options}\n\n"
        f"Playground, in a browser:  {addresses.http}/\n"
        f"Base URL of OpenAI's API:  {addresses.http}/v1\n"
        f"Interactive documentation: {addresses.http}/swagger-ui   Stop: Ctrl-C\n"
    )


def _facts(model: models_pb2.Model) -> str:
    return f"{model.engine} on {model.device}, {model.context_length} tokens of context"


def _own_command() -> str:
    command = Path(sys.argv[0])
    if command.name != "tokenwire":
        return "tokenwire"
    try:
        return str(command.relative_to(Path.cwd()))
    except ValueError:
        return str(command)
