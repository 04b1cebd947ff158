"""Mutated bodies and heads on every route of a running edge: each gets its answer or is refused."""

from __future__ import annotations

import asyncio
import json
from importlib import resources
from random import Random
from typing import Any, Final

import aiohttp
import pytest

from ..server.scripted_engine import MODEL_ID
from . import mutated_json
from .free_engine import free_service
from .fuzzing import Judge, fuzz, inside_of, num_cases
from .mutated_http import write_request

_TIMEOUT_S: Final = 60.0
# What is written to be read by anyone: there the words of errors are explained.
_PAGES: Final = (b"# HELP ", b'"openapi": "3', b"<!doctype html")
_NOT_READY: Final = b'{"status":"not_ready"'
_PATIENCE_S: Final = 0.5
# Ids that requests with a `detach_timeout` are kept by, and taken up by others of this run.
_NUM_IDS: Final = 8
_LAST_IDS: Final = ("0", "1", "2", "3", "7", "end", "-1", "x", "1" * 30, "")
_USER: Final = {"role": "user", "content": "two words"}
_TOOL: Final = {
    "type": "function",
    "function": {"name": "look", "description": "x", "parameters": {"type": "object"}},
}
# Beside the examples of the API's document: what they leave out.
_RICH: Final[tuple[tuple[str, Any], ...]] = (
    (
        "/v1/chat/completions",
        {
            "messages": [_USER, {"role": "assistant", "content": None, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "1", "content": "seen"}],
            "tools": [_TOOL], "tool_choice": "auto", "n": 2, "stream": True, "stop": ["a", "b"],
            "logit_bias": {"5": 1}, "logprobs": True, "top_logprobs": 2, "max_tokens": 5,
            "stream_options": {"include_usage": True}, "seed": 7, "user": "me",
        },
    ),
    (
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}]}],
            "chat_template_kwargs": {"a": [1]}, "max_completion_tokens": 5,
        },
    ),
    (
        "/v1/chat/completions",
        {
            "messages": [_USER],
            "response_format": {"type": "json_schema", "json_schema": {
                "name": "a", "strict": True, "schema": {"type": "object", "properties": {}}}},
        },
    ),
    (
        "/v1/chat/completions",
        {
            "messages": [_USER], "tools": [_TOOL], "stream": True, "parallel_tool_calls": False,
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "reasoning_effort": "low", "max_tokens": 3,
        },
    ),
    (
        "/v1/chat/completions",
        {"messages": [_USER], "structured_outputs": {"choice": ["a", "b"]}, "n": 16},
    ),
    ("/v1/chat/completions", {"messages": [_USER], "guided_regex": "[a-c]{1,3}", "stop": "a"}),
    (
        "/v1/chat/completions",
        {
            "messages": [_USER, {"role": "assistant", "content": "It is"}],
            "continue_final_message": True, "add_generation_prompt": False, "stream": True,
        },
    ),
    ("/v1/completions", {"prompt": ["a", "b"], "stream": True, "n": 2, "grammar": 'root ::= "a"'}),
    ("/api/generate/stream", {"prompt": "a", "detach_timeout": 1, "max_tokens": 4}),
    ("/api/chat/stream", {"messages": [_USER], "detach_timeout": 1.5, "max_tokens": 4}),
    ("/v1/completions", {"prompt": [[1, 2], [3]], "echo": True, "logprobs": 2, "best_of": 1}),
    ("/v1/completions", {"prompt": "a b", "suffix": "c", "stream": True, "max_tokens": 4}),
    ("/api/chat", {"messages": [_USER], "options": {"num_predict": 4}, "keep_alive": "5m"}),
    ("/api/generate", {"prompt": "a", "system": "b", "images": [], "raw": True}),
    (
        "/tokenwire/v1/chat",
        {
            "messages": [{"role": "ROLE_USER", "content": [{"text": "a"}]}],
            "sampling": {"maxTokens": 4, "n": 2, "logitBias": {"5": 1}}, "progress": True,
            "timeLimit": "20s", "constraint": {"regex": "a+"}, "detachTimeout": "1s",
        },
    ),
    (
        "/tokenwire/v1/chat",
        {
            "messages": [
                {"role": "ROLE_USER", "content": [{"image": {"data": "iVBORw0K"}}, {"text": "a"}]},
                {"role": "ROLE_ASSISTANT", "toolCalls": [
                    {"id": "1", "name": "look", "arguments": "{}"}]},
                {"role": "ROLE_TOOL", "toolCallId": "1", "content": [{"text": "seen"}]},
            ],
            "tools": [{"name": "look", "parametersSchema": "{}"}], "priority": 7,
            "toolChoice": {"mode": "MODE_REQUIRED"}, "reasoning": {"hidden": True},
            "templateArguments": {"values": {"a": [1]}}, "cacheSalt": "a", "maxQueueWait": "9s",
            "delivery": "DELIVERY_FINAL", "returnTokenIds": True,
        },
    ),
    (
        "/tokenwire/v1/generate",
        {"resume": {"requestId": "r2", "afterPosition": "1"}, "detachTimeout": "1s"},
    ),
    (
        "/tokenwire/v1/count_tokens",
        {"generate": {"model": MODEL_ID, "text": "a", "sampling": {"maxTokens": 5, "stop": ["b"]}}},
    ),
)  # fmt: skip


def _read_operations() -> list[tuple[str, str, Any]]:
    """Every method, path and body of the API's document, on the model of the service."""
    document = json.loads(
        resources.files("tokenwire.edge.pages").joinpath("openapi.json").read_text()
    )
    found: list[tuple[str, str, Any]] = [("GET", "/", None)]
    found += [("GET", f"/api/streams/r{number}", None) for number in range(_NUM_IDS)]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method not in ("get", "post"):
                continue
            content = operation.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {})
            examples = [body.get("example")]
            examples += [each["value"] for each in body.get("examples", {}).values()]
            url = path.replace("{id}", MODEL_ID).replace("{request_id}", "a-request")
            found += [
                (method.upper(), url, example)
                for example in examples
                if (example is None) is (method == "get")
            ]
    return found + [("POST", path, body) for path, body in _RICH]


_OPERATIONS: Final = _read_operations()


def _on_our_model(example: dict[str, Any]) -> dict[str, Any]:
    inner = next((name for name in ("chat", "generate") if name in example), None)
    if inner is not None:  # of CountTokens
        return {inner: {**example[inner], "model": MODEL_ID}}
    return {**example, "model": MODEL_ID}


def _make(random: Random) -> tuple[str, bytes]:
    method, path, example = random.choice(_OPERATIONS)
    body, headers = b"", {}
    if example is not None:
        fields = _on_our_model(example)
        body, headers = mutated_json.mutate(random, fields)
    if random.random() < 0.5:
        headers = {**headers, "X-Request-Id": f"r{random.randrange(_NUM_IDS)}"}
    if path.startswith("/api/streams/") and random.random() < 0.8:
        headers = {**headers, "Last-Event-ID": random.choice(_LAST_IDS)}
    return "request", write_request(random, method, path, body, headers)


def _problem_of(answer: bytes) -> str:
    """Judges all that came back on one connection, which may be several answers."""
    if not answer:
        return ""  # there is nothing to answer: half a request, and its sender gone
    status_line = answer.partition(b"\r\n")[0]
    status = status_line.split(b" ")[1:2]
    if not status_line.startswith(b"HTTP/1.") or not status or not status[0].isdigit():
        return f"is no HTTP: {answer[:200]!r}"
    text = answer.decode(errors="replace")
    if _NOT_READY in answer:
        return ""  # on a busy machine the front may take long to say so; it is asked again below
    if int(status[0]) >= 500 or b"\r\nHTTP/1.1 5" in answer:
        return f"fails: {text[:600]}"
    if any(mark in answer for mark in _PAGES):
        return ""
    if b'"INTERNAL' in answer or b"GENERATION_ERROR" in answer:
        return f"tells of a failure of ours: {text[:600]}"
    return inside_of(text)


async def _read(reader: asyncio.StreamReader, patience_s: float | None) -> bytes:
    """Reads to the end, or until nothing comes any more."""
    parts: list[bytes] = []
    try:
        while True:
            async with asyncio.timeout(patience_s):
                part = await reader.read(1 << 16)
            parts.append(part)
            if not part:
                break
    except TimeoutError:
        pass
    return b"".join(parts)


def _judge_at(port: int) -> Judge:
    async def exchange(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            answer = await _read(reader, _PATIENCE_S)
            # Half a request, or a connection that stays open: the end of ours ends it.
            writer.write_eof()
            return answer + await _read(reader, None)
        except ConnectionError:
            return b""  # the edge closed before it had read all: what it says is lost with it
        finally:
            writer.transport.abort()

    async def judge(data: bytes) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return _problem_of(await exchange(data))
        except TimeoutError:
            return f"got no answer within {_TIMEOUT_S:g} s"

    return judge


async def _fuzz(number: int) -> None:
    async with (
        free_service() as service,
        aiohttp.ClientSession(f"http://127.0.0.1:{service.http_port}") as http,
    ):

        async def is_healthy() -> bool:
            async with http.get("/health/live") as live:
                is_live = live.status == 200
            while is_live:  # for ten seconds at most
                async with http.get("/health/ready") as ready:
                    if ready.status == 200:
                        return True
            return False

        judge = _judge_at(service.http_port)
        await fuzz(number, _make, lambda _kind: judge, is_healthy)
        await service.engine.wait_until(running=0)
        assert service.errors == []


async def test_mutated_requests() -> None:
    """Some hundred requests: the short form of what follows."""
    await _fuzz(200)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_many_mutated_requests() -> None:
    """50,000 requests are answered without a 5xx, without a word of the inside."""
    await _fuzz(num_cases(50_000))
