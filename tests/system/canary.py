"""Texts of a caller in every place that takes one, and what a running service says meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
from google.protobuf.struct_pb2 import Struct
from tokenwire.generated.tokenwire.v1 import (
    chat_pb2,
    inference_pb2,
    inference_pb2_grpc,
    sampling_pb2,
)

from ..surroundings import free_port

CANARY = "quokka"
"""Part of each text; no word of the service's own, and none that a model would say by itself."""

START_S = 600.0
_SECRETS = (
    ("authorization", f"Bearer {CANARY}-bearer"),
    ("x-api-key", f"{CANARY}-api-key"),
    ("cookie", f"session={CANARY}-cookie"),
)
_STOP = f"{CANARY}-stop"
_CONVERSATION = (
    ("system", f"You are {CANARY}-system."),
    ("user", f"Where is the {CANARY}-question?"),
    ("assistant", f"In the {CANARY}-answer."),
    ("user", f"Count to ten, {CANARY}-user."),
)


@dataclass
class Watched:
    """A running service, and all that it said: log lines; errors and metrics; the model's words."""

    model: str
    pid: int
    grpc_port: int
    http_port: int
    lines: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for(self, name: str, times: int = 1) -> None:
        """Returns once an event was logged that often."""
        while len(self.events(name)) < times:
            self.changed.clear()
            await self.changed.wait()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [event for line in self.lines if (event := json.loads(line))["event"] == name]


@asynccontextmanager
async def watched_service(folder: Path, model: str, **variables: str) -> AsyncGenerator[Watched]:
    """Runs `tokenwire serve` at debug level until its model serves, and reads its log."""
    grpc_port, http_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", "serve"),
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={
            **os.environ,
            "LLM_ALLOWED_MODELS": model,
            "LLM_GRPC_HOSTNAME": "127.0.0.1",
            "LLM_GRPC_PORT": str(grpc_port),
            "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
            "LLM_INFERENCE_PORT": str(http_port),
            "LLM_METRICS_PORT": str(free_port()),
            "LLM_MAX_MODEL_LEN": "1024",
            "LOG_LEVEL": "debug",
            "LLM_CRASH_CONTINUATION": "false",  # the words of a death are looked at
            **variables,
        },
    )
    watched = Watched(model, process.pid, grpc_port, http_port)

    async def read() -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            watched.lines.append(raw.decode())
            watched.changed.set()
            assert "model_failed" not in watched.lines[-1]

    try:
        async with asyncio.timeout(START_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await watched.wait_for("model_serving")
            yield watched
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def send_canaries(watched: Watched) -> None:
    """Sends the text in every field and header, in calls that succeed and that fail."""
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{watched.http_port}") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{watched.grpc_port}") as channel,
    ):
        await _over_grpc(watched, channel)
        await _over_http(watched, http)
        await _broken_bytes(watched)
        async with http.get("/metrics") as response:
            watched.pages.append(await response.text())


async def kill_engine_in_a_stream(watched: Watched, engine_pid: int) -> None:
    """Ends the engine while it answers, and waits for the next one; the caller is told so."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{watched.grpc_port}") as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        call = stub.Chat(_chat(watched.model, max_tokens=512, ignore_eos=True), metadata=_SECRETS)
        await _first_delta(call)
        os.kill(engine_pid, signal.SIGKILL)
        error = await _failure(_read(call))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        watched.pages.append(_all_of(error))
    await watched.wait_for("model_serving", times=2)


def assert_nothing_leaked(watched: Watched) -> None:
    """Neither the caller's texts nor the model's answers are in a line, a metric or an error."""
    for page in (*watched.lines, *watched.pages):
        assert CANARY not in page.casefold(), page
    # Long enough to be no accident.
    parts = [part for answer in watched.answers for part in re.findall(r"[^\\\"]{24}", answer)]
    assert len(parts) >= 3
    log = "".join(watched.lines)
    assert not [part for part in parts if part in log]


def _chat(model: str, **sampling: Any) -> inference_pb2.ChatRequest:
    arguments = Struct()
    arguments.update({f"{CANARY}-name": {"x": [f"{CANARY}-argument"]}})
    return inference_pb2.ChatRequest(
        model=model,
        messages=[
            chat_pb2.Message(
                role=chat_pb2.Role.Value(f"ROLE_{role.upper()}"),
                content=[chat_pb2.ContentPart(text=text)],
            )
            for role, text in _CONVERSATION
        ],
        template_arguments=chat_pb2.TemplateArguments(values=arguments),
        sampling=sampling_pb2.Sampling(
            **{"temperature": 0, "max_tokens": 24, "stop": [_STOP], **sampling}
        ),
        cache_salt=f"{CANARY}-salt",
        progress=True,
    )


def _text(model: str, **fields: Any) -> inference_pb2.GenerateRequest:
    request = inference_pb2.GenerateRequest(model=model, text=f"Once, a {CANARY}-prompt", **fields)
    request.sampling.max_tokens = 24
    return request


async def _over_grpc(watched: Watched, channel: grpc.aio.Channel) -> None:
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    for request in (_chat(watched.model), _text(watched.model)):
        method: Any = stub.Chat if isinstance(request, inference_pb2.ChatRequest) else stub.Generate
        told = [
            delta.text.text
            async for event in method(request, metadata=_SECRETS)
            for delta in event.deltas.deltas
        ]
        watched.answers.append("".join(told))

    tools = [chat_pb2.Tool(name=f"{CANARY}-tool", parameters_schema=f"{CANARY}-schema")]
    call = chat_pb2.ToolCall(id="1", name=f"{CANARY}-tool", arguments=f'{{"a": "{CANARY}-b"}}')
    with_calls = _chat(watched.model)
    with_calls.messages[2].tool_calls.append(call)
    with_tools = _chat(watched.model)
    with_tools.tools.extend(tools)
    too_long = _chat(watched.model)
    too_long.messages[-1].content[0].text = f"{CANARY}-long " * 2000
    failing: list[tuple[Any, Any]] = [
        (stub.Chat, with_calls),
        (stub.Chat, with_tools),
        (stub.Chat, too_long),
        (stub.Chat, _chat(watched.model, temperature=-1)),
        (stub.Chat, _chat(watched.model, stop=[_STOP * 100])),
        (stub.Generate, _text(watched.model, suffix=f"{CANARY}-suffix", as_instruction=True)),
        (stub.Generate, _text(watched.model, cache_salt=f"{CANARY}-salt" * 100)),
    ]
    for method, request in failing:
        watched.pages.append(_all_of(await _failure(_read(method(request, metadata=_SECRETS)))))
    # The caller is told which model is not here, and nobody else.
    await _failure(_read(stub.Chat(_chat(f"{CANARY}/model"), metadata=_SECRETS)))
    adapter = _text(watched.model, lora_adapter=f"{CANARY}-adapter")
    await _failure(_read(stub.Generate(adapter, metadata=_SECRETS)))

    await _constrained(watched.model, stub)
    endless = _chat(watched.model, max_tokens=900, ignore_eos=True)
    left = stub.Chat(endless, metadata=_SECRETS)
    await _first_delta(left)
    left.cancel()
    late = stub.Chat(endless, metadata=_SECRETS, timeout=0.3)
    watched.pages.append(_all_of(await _failure(_read(late))))

    for path, data in (
        ("/tokenwire.v1.InferenceService/Chat", b"\x12\xff" + CANARY.encode()),
        (f"/tokenwire.v1.InferenceService/{CANARY}", b""),
        (f"/{CANARY}", b""),
    ):
        call = channel.unary_unary(path)(data, metadata=(*_SECRETS, ("traceparent", CANARY)))
        watched.pages.append(_all_of(await _failure(call)))
    large = (*_SECRETS, (f"x-{CANARY}", CANARY * 5000))
    await _failure(stub.ListModels(inference_pb2.ListModelsRequest(), metadata=large))


async def _read(call: Any) -> None:
    async for _ in call:
        pass


async def _first_delta(call: Any) -> None:
    async for event in call:
        if event.HasField("deltas"):
            return


async def _failure(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


def _all_of(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code()} {error.details()} {error.trailing_metadata()}"


async def _constrained(model: str, stub: Any) -> None:
    """Sends constraints; only their caller is told what is wrong with a bad one."""
    good = sampling_pb2.Constraint.Choice(values=[f"{CANARY}-choice", f"{CANARY}-other"])
    constraints = [
        sampling_pb2.Constraint(regex=f"{CANARY}-(regex"),
        sampling_pb2.Constraint(ebnf=f'root ::= "{CANARY}-ebnf'),
        sampling_pb2.Constraint(
            json_schema=f'{{"properties": {{"{CANARY}-name": {{"type": 5}}}}}}'
        ),
        sampling_pb2.Constraint(json_schema=f'{{"format": "{CANARY}", "type": "string"}}'),
    ]
    for constraint in constraints:
        await _failure(_read(stub.Generate(_text(model, constraint=constraint), metadata=_SECRETS)))
    request = _text(model, constraint=sampling_pb2.Constraint(choice=good))
    await _read(stub.Generate(request, metadata=_SECRETS))


async def _over_http(watched: Watched, http: aiohttp.ClientSession) -> None:
    messages = [{"role": role, "content": text} for role, text in _CONVERSATION]
    chat = {"model": watched.model, "messages": messages, "max_tokens": 24, "stop": [_STOP]}
    text = {"model": watched.model, "prompt": f"Once, a {CANARY}-prompt", "max_tokens": 24}
    canonical = {
        "model": watched.model,
        "messages": [{"role": "ROLE_USER", "content": [{"text": f"{CANARY}-canonical"}]}],
        "template_arguments": {"values": {f"{CANARY}-name": f"{CANARY}-argument"}},
        "sampling": {"max_tokens": 24, "stop": [_STOP]},
    }
    for path, body in (
        ("/api/chat", chat),
        ("/api/chat/stream", chat),
        ("/api/generate", text),
        ("/api/completions", text),
        ("/api/completions", text | {"stream": True}),
        ("/tokenwire/v1/chat", canonical),
    ):
        query = {f"{CANARY}-name": f"{CANARY}-query"}
        async with http.post(path, json=body, params=query, headers=_SECRETS) as response:
            assert response.status == 200, await response.text()
            if path == "/api/chat":
                watched.answers.append((await response.json())["message"]["content"])

    too_long = chat | {"messages": [{"role": "user", "content": f"{CANARY}-long " * 2000}]}
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": CANARY}}]
    with_calls = messages[2] | {"tool_calls": calls}
    for path, bodies in (
        ("/api/chat", (too_long, chat | {"temperature": CANARY}, chat | {"stop": {CANARY: 1}})),
        ("/api/chat", (chat | {"messages": [*messages[:2], with_calls, messages[3]]},)),
        ("/api/chat", (chat | {"messages": [{"role": "user", "content": {CANARY: CANARY}}]},)),
        ("/api/generate", (text | {"prompt": [CANARY]}, text | {"prompt": ""})),
        ("/tokenwire/v1/chat", (canonical | {"sampling": {"stop": CANARY}},)),
        ("/tokenwire/v1/chat", (canonical | {"cache_salt": f"{CANARY}-salt" * 100},)),
    ):
        for body in bodies:
            async with http.post(path, json=body, headers=_SECRETS) as response:
                assert 400 <= response.status < 500, await response.text()
                watched.pages.append(await response.text())
    for path, data in (
        ("/api/chat", f'{{"messages": "{CANARY}'.encode()),
        ("/api/chat", b"\xff" + CANARY.encode()),
        ("/tokenwire/v1/chat", f'["{CANARY}"]'.encode()),
    ):
        async with http.post(path, data=data, headers=_SECRETS) as response:
            assert 400 <= response.status < 500, await response.text()
            watched.pages.append(await response.text())
    # The caller is told what he wrote in a short place, and nobody else.
    for path, body in (
        ("/api/chat", chat | {"model": f"{CANARY}/model"}),
        ("/api/chat", chat | {f"{CANARY}-field": 1}),
        ("/api/chat", chat | {"messages": [{"role": CANARY, "content": "x"}]}),
        ("/tokenwire/v1/chat", canonical | {f"{CANARY}-field": 1}),
        (f"/{CANARY}", chat),
    ):
        async with http.post(path, json=body, headers=_SECRETS) as response:
            assert response.status in (200, 400, 404), await response.text()
    async with http.request(CANARY.upper(), "/api/chat", json=chat, headers=_SECRETS) as response:
        assert response.status == 400

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), http.post("/api/chat", json=chat | {"max_tokens": 900}):
            pass
    deadline = {"grpc-timeout": "300m", **dict(_SECRETS)}
    async with http.post("/api/chat", json=chat | {"max_tokens": 900}, headers=deadline) as late:
        watched.pages.append(await late.text() if late.status != 200 else "")


async def _broken_bytes(watched: Watched) -> None:
    """Sends what is no HTTP and no gRPC to both ports."""
    for port in (watched.http_port, watched.grpc_port):
        for data in (
            f"{CANARY}\r\n\r\n",
            f"POST /{CANARY} HTTP/1.1\r\nHost: x\r\n{CANARY} header\r\n\r\n",
            f"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: {CANARY}\r\n\r\n",
            f"POST /api/chat HTTP/1.1\r\nHost: x\r\nX: {CANARY * 5000}\r\n\r\n",
            f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{CANARY * 20}",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data.encode())
                writer.write_eof()
                watched.pages.append((await reader.read()).decode(errors="replace"))
            except OSError:
                pass  # it hung up first
            finally:
                writer.close()
