"""The OpenAI door, against a server that sends the bytes of others."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web
from tokenwire.load.faces.exchange import Exchange
from tokenwire.load.faces.face import LoadRequest, RequestFailed, Sending, Task
from tokenwire.load.faces.http_face import first_id
from tokenwire.load.faces.openai_face import open_openai_face

from ..scripted_openai import WHOLE, ScriptedOpenAi, Step, count_connections, serving

REQUEST = LoadRequest("hello", 5, 1)


async def ask(*steps: Step, timeout_s: float = 30, task: Task = Task.CHAT) -> Exchange:
    sending = Sending("m", task, timeout_s=timeout_s)
    exchange = Exchange(time.perf_counter, time.perf_counter())
    async with serving(ScriptedOpenAi(*steps)) as url, open_openai_face(url) as face:
        await face.send(sending, REQUEST, exchange)
    return exchange


async def test_usage_is_asked_for_and_read() -> None:
    """The role alone is no output; tokens are those of the usage."""
    server = ScriptedOpenAi()
    exchange = Exchange(time.perf_counter, 0.0)
    async with serving(server) as url, open_openai_face(f"{url}/v1/", api_key="k") as face:
        assert await face.find_model() == "first"
        await face.send(Sending("m", temperature=0.0), REQUEST, exchange)
    assert server.bodies == [
        {
            "model": "m",
            "max_tokens": 5,
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "hello"}],
            "ignore_eos": True,
            "temperature": 0.0,
        }
    ]
    assert server.headers[0]["Authorization"] == "Bearer k"
    assert len(exchange.times) == 2
    assert (exchange.told_prompt_tokens, exchange.num_output_tokens) == (7, 5)
    assert exchange.num_cached_tokens == 3


async def test_connections_are_kept() -> None:
    """An answer is read to its end, so that the next request finds the connection free."""
    ends = asyncio.Event()
    server = ScriptedOpenAi(*WHOLE[:3], WHOLE[3] + WHOLE[4], ends)
    async with serving(server) as url, open_openai_face(url) as face:
        assert await count_connections(server, face, ends) == 1


async def test_texts_and_thinking_are_output() -> None:
    """Completions have `text`; thinking counts under both its names."""
    events = (
        b'data: {"choices":[{"text":"a"}]}\r\n\r\n',
        b'data: {"choices":[{"delta":{"reasoning_content":"b"}}]}\n\n',
        b'data: {"choices":[{"delta":{"reasoning":"c"},"finish_reason":"stop"}]}\n\n',
    )
    exchange = await ask(*events, task=Task.COMPLETION)
    assert exchange.num_output_tokens == 3
    assert exchange.told_output_tokens is None


async def test_events_may_be_cut_anywhere() -> None:
    """Bytes that arrive in pieces, and comments between them, make no difference."""
    data = b": ping\n" + b"".join(WHOLE)
    exchange = await ask(data[:50], data[50:51], data[51:])
    assert exchange.num_output_tokens == 5


@pytest.mark.parametrize(
    ("steps", "kind", "message"),
    [
        (
            [web.Response(status=503, text='{"error":{"message":"full","code":"AT_CAPACITY"}}')],
            "HTTP 503 AT_CAPACITY",
            "full",
        ),
        ([web.Response(status=400, text='{"error":"no","code":400}')], "HTTP 400", "no"),
        ([web.Response(status=502, text="<html>bad</html>")], "HTTP 502", "<html>bad</html>"),
        (
            [WHOLE[1], b'data: {"error":{"message":"lost","type":"server_error"}}\n\n'],
            "in stream server_error",
            "lost",
        ),
        ([WHOLE[1]], "cut", "the stream ended before its last event"),
        ([b"data: {oops\n\n"], "no JSON", "{oops"),
        ([b"data: [1]\n\n"], "no JSON object", "[1]"),
    ],
)
async def test_failures_are_told_by_kind(steps: list[Step], kind: str, message: str) -> None:
    """Whatever goes wrong is an exception with a kind to count by, and the server's words."""
    with pytest.raises(RequestFailed) as caught:
        await ask(*steps)
    assert (caught.value.kind, str(caught.value)) == (kind, message)


@pytest.mark.parametrize("models", [None, [], [7], {"data": []}, {"data": [{}]}, {}])
def test_no_list_of_models(models: object) -> None:
    """Whatever a server lists that is no model, the model has to be named."""
    with pytest.raises(RequestFailed, match="the server lists no model: name one"):
        first_id(models)


async def test_nobody_there() -> None:
    """A closed port is told as such."""
    async with open_openai_face("http://127.0.0.1:1") as face:
        with pytest.raises(RequestFailed) as caught:
            await face.find_model()
    assert caught.value.kind == "no connection"


async def test_deadline() -> None:
    """An answer that takes too long is a timeout."""
    with pytest.raises(RequestFailed) as caught:
        await ask(WHOLE[1], asyncio.Event(), timeout_s=0.2)
    assert (caught.value.kind, str(caught.value)) == ("timeout", "not answered within 0.2 s")


async def test_end_without_done() -> None:
    """A server that only closes behind its last choice has sent a whole answer."""
    assert (await ask(*WHOLE[:3])).num_output_tokens == 2


async def test_server_that_hangs_up_behind_a_stream() -> None:
    """A server that keeps no connection and does not say so loses no request.

    llama.cpp's own server is one: it announces keep-alive, and closes behind each stream.
    """
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n"
    body = b"".join(WHOLE)
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    num_connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        request = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(request.lower().split(b"content-length: ")[1].split()[0]))
        writer.write(head + chunk)
        await writer.drain()
        # Hangs up only when the next request begins on it, so that the client cannot know before.
        if num_connections == 1:
            await reader.read(1)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_openai_face(f"http://127.0.0.1:{port}") as face:
            for _ in range(4):
                exchange = Exchange(time.perf_counter, 0.0)
                await face.send(Sending("m"), REQUEST, exchange)
                assert exchange.num_output_tokens == 5
    assert num_connections == 4
