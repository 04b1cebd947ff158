"""Request bodies: what cannot be read is refused before the front is asked."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from tokenwire.edge.app import DIALECTS, EdgeApp
from tokenwire.edge.body import BodyReader, json_response
from tokenwire.edge.client import FrontClient
from tokenwire.edge.dialect import Dialect

from .conftest import MAX_BODY_BYTES, edge_config
from .raw_http import exchange
from .scripted import ScriptedFront

POSTS = [
    "/api/generate",
    "/api/chat",
    "/api/chat/stream",
    "/api/completions",
    "/api/completions/stream",
    "/tokenwire/v1/generate",
    "/tokenwire/v1/chat",
]
JSON = {"Content-Type": "application/json"}
PROMPT = b'{"model":"a","prompt":"x"}'


async def refused(http: aiohttp.ClientSession, path: str, data: bytes, status: int = 400) -> str:
    """Posts bytes and returns the text of the refusal, whatever the dialect."""
    async with http.post(path, data=data, headers=JSON) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        body = await response.json()
    return str(body["error"] if "error" in body else body["message"])


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b'{"model":',
        b'{"model":NaN}',
        b'{"temperature":Infinity}',
        b'{"temperature":1e999}',
        b"\xff\xfe{}",
        b'{"model":"\xc3\x28"}',
        b'{"model":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[]",
        b'"text"',
        b"null",
        b"12",
        b"{} {}",
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
async def test_what_is_no_json_object_is_refused(
    scripted_http: aiohttp.ClientSession, path: str, data: bytes
) -> None:
    """Whatever is not a JSON object is a 400 that says so, never a 500."""
    text = await refused(scripted_http, path, data)
    assert "body: " in text


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (PROMPT.decode().encode("utf-16"), "is not UTF-8"),
        (PROMPT.decode().encode("utf-16-le"), "is not UTF-8"),
        (PROMPT.decode().encode("utf-32-be"), "is not UTF-8"),
        (gzip.compress(PROMPT, mtime=0), "is not UTF-8"),
        (b"\xff", "is not UTF-8"),
        (b'{"model":"\xff"}', "is not UTF-8"),
    ],
)
async def test_a_body_that_is_no_text_is_told_so(
    scripted_http: aiohttp.ClientSession, path: str, data: bytes, text: str
) -> None:
    """A body that is empty or not UTF-8 is refused in these words, in no library's."""
    assert (await refused(scripted_http, path, data)).endswith(f"body: {text}")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
async def test_an_announced_body_over_the_limit_is_not_read(
    scripted_edge: EdgeApp, path: str, expect: str
) -> None:
    """Content-Length alone is enough to refuse a body: no byte of it is asked for, or awaited."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n{expect}"
    status, headers, body = await exchange(scripted_edge.port, f"{head}\r\n".encode())
    assert status == 413
    assert headers["Connection"] == "close"
    text = body["error"] if "error" in body else body["message"]
    assert text.endswith(f"the body is over the limit of {MAX_BODY_BYTES} bytes")


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_over_the_limit_is_413(
    scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """A body that is too large is refused, and the limit told."""
    data = b'{"model":"' + b"x" * MAX_BODY_BYTES + b'"}'
    text = await refused(scripted_http, path, data, status=413)
    assert str(MAX_BODY_BYTES) in text


@pytest.mark.parametrize("path", POSTS)
async def test_another_content_type_is_415(scripted_http: aiohttp.ClientSession, path: str) -> None:
    """A body that is not JSON by its own header is refused."""
    async with scripted_http.post(path, data=b"{}", headers={"Content-Type": "text/xml"}) as answer:
        assert answer.status == 415
        assert "application/json, got text/xml" in await answer.text()


async def test_duplicate_keys_are_tolerated(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """Of two equal keys the last one counts."""
    data = b'{"model":"a","model":"b","prompt":"x","unknown":{"a":1}}'
    async with scripted_http.post("/api/generate", data=data, headers=JSON) as response:
        assert response.status == 200
    assert scripted.requests[-1].model == "b"


async def test_a_body_without_content_type_is_json(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """A client that names no type is taken at its word: the body is JSON."""
    data = b'{"model":"a","prompt":"x"}'
    skip = ("Content-Type",)
    async with scripted_http.post("/api/generate", data=data, skip_auto_headers=skip) as response:
        assert response.status == 200


async def test_a_byte_order_mark_is_passed_over(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """As some programs write one before their JSON."""
    data = b'\xef\xbb\xbf{"model":"a","prompt":"x"}'
    async with scripted_http.post("/api/generate", data=data, headers=JSON) as response:
        assert response.status == 200
    assert scripted.requests[-1].model == "a"


async def test_a_slow_body_is_408(scripted: ScriptedFront) -> None:
    """A body that does not arrive in time is answered 408, and the connection ends."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_BODY_TIMEOUT_S="0.05")
    async with EdgeApp(config) as edge:
        data = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        status, _, body = await exchange(edge.port, data)
    assert (status, body["code"]) == (408, "CLIENT_TIMEOUT")


async def test_a_chunked_body_is_bounded_too(scripted_edge: EdgeApp) -> None:
    """The size limit counts what arrives, not what a header promises."""
    head = (
        b"POST /api/chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    data = head + chunk * (MAX_BODY_BYTES // 0x8000 + 1) + b"0\r\n\r\n"
    status, _, body = await exchange(scripted_edge.port, data)
    assert (status, body["code"]) == (413, "BODY_TOO_LARGE")


def deflate_without_header(data: bytes) -> bytes:
    """What some clients send as deflate: the bare stream."""
    return zlib.compress(data, wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", deflate_without_header),
        ("identity", bytes),
        ("utf-8", bytes),
        ("", bytes),
    ],
)
async def test_compressed_bodies_are_read(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    encoding: str,
    encode: Callable[[bytes], bytes],
) -> None:
    """A body may be compressed, and says so in its header."""
    headers = {**JSON, "Content-Encoding": encoding}
    data = encode(PROMPT)
    async with scripted_http.post("/api/generate", data=data, headers=headers) as response:
        assert response.status == 200, await response.text()
    assert scripted.requests[-1].text == "x"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "nonsense"])
async def test_an_encoding_that_cannot_be_read_is_415(
    scripted_http: aiohttp.ClientSession, path: str, encoding: str
) -> None:
    """The refusal names the encoding that came and those that are taken."""
    headers = {**JSON, "Content-Encoding": encoding}
    async with scripted_http.post(path, data=PROMPT, headers=headers) as response:
        assert response.status == 415
        assert response.headers["Accept-Encoding"] == "gzip, deflate"
        assert response.headers["X-Request-Id"]
        body = await response.json()
    text = str(body["error"] if "error" in body else body["message"])
    assert text == f"Content-Encoding must be gzip or deflate, got {encoding}"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", PROMPT),
        ("gzip", gzip.compress(PROMPT, mtime=0)[:-6]),
        ("gzip", gzip.compress(PROMPT, mtime=0)[:12]),
        ("gzip", gzip.compress(PROMPT, mtime=0) + b"garbage"),
        ("deflate", PROMPT),
        ("deflate", zlib.compress(PROMPT)[:-6]),
    ],
    ids=["gzip-plain", "gzip-cut", "gzip-head", "gzip-tail", "deflate-plain", "deflate-cut"],
)
async def test_a_body_that_is_not_what_it_claims_is_named(
    scripted_http: aiohttp.ClientSession, encoding: str, data: bytes
) -> None:
    """A body that is not compressed as its header says, or only in part, is a clear 400."""
    headers = {**JSON, "Content-Encoding": encoding}
    async with scripted_http.post("/api/generate", data=data, headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["error"] == f"Bad request: body: is not valid {encoding}"


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_the_limit_counts_what_a_body_unpacks_to(
    scripted_http: aiohttp.ClientSession, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    """A small body that unpacks to a large one is refused, unread beyond the limit."""
    fits = b'{"model":"a","prompt":"' + b"x" * (MAX_BODY_BYTES - 25) + b'"}'
    assert len(fits) == MAX_BODY_BYTES
    headers = {**JSON, "Content-Encoding": encoding}
    for data, status in ((fits, 200), (fits + b" ", 413), (b" " * 100_000_000, 413)):
        post = scripted_http.post("/api/generate", data=encode(data), headers=headers)
        async with post as response:
            assert response.status == status, await response.text()


async def test_a_transfer_coding_that_cannot_be_read_is_415(scripted_edge: EdgeApp) -> None:
    """A body packed for its transfer is refused: aiohttp would read it as it is packed."""
    head = (
        b"POST /api/generate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    )
    data = head + b"%x\r\n" % len(PROMPT) + PROMPT + b"\r\n0\r\n\r\n"
    status, _, body = await exchange(scripted_edge.port, data)
    assert (status, body["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert body["error"] == "Transfer-Encoding must be chunked, got gzip, chunked"


class SlowCodec:
    """A dialect whose codec waits until it is let go, and tells how many did so at once."""

    def __init__(self) -> None:
        self.is_begun = threading.Event()
        self.is_let_go = threading.Event()
        self.num_running = self.max_running = 0

    def decode(self, body: dict[str, Any]) -> int:
        """Waits, then says how long the text was."""
        self.num_running += 1
        self.max_running = max(self.max_running, self.num_running)
        self.is_begun.set()
        self.is_let_go.wait(timeout=60)
        self.num_running -= 1
        return len(body["text"])

    def routes(self, _front: FrontClient, bodies: BodyReader) -> list[web.RouteDef]:
        """One route that only decodes."""

        async def handle(request: web.Request) -> web.Response:
            return json_response({"length": await bodies.read(request, self.decode)})

        return [web.post("/slow/", handle)]


async def test_a_large_body_is_decoded_beside_the_loop(scripted: ScriptedFront) -> None:
    """Other requests are answered meanwhile, and large bodies wait for each other."""
    codec = SlowCodec()
    slow = Dialect("/slow/", codec.routes, DIALECTS[0].encode_failure)
    config = edge_config(LLM_GRPC_TARGET=scripted.target)
    data = orjson.dumps({"text": "x" * 100_000})
    async with (
        EdgeApp(config, dialects=(*DIALECTS, slow)) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):

        async def post() -> int:
            async with http.post("/slow/", data=data, headers=JSON) as response:
                return int((await response.json())["length"])

        async with asyncio.TaskGroup() as group:
            posts = [group.create_task(post()) for _ in range(3)]
            assert await asyncio.to_thread(codec.is_begun.wait, 60)
            async with asyncio.timeout(45), http.get("/health/live") as response:
                assert response.status == 200
            codec.is_let_go.set()
    assert [task.result() for task in posts] == [100_000] * 3
    assert codec.max_running == 1


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream", "/tokenwire/v1/chat"])
async def test_too_many_messages_are_not_looked_at(
    scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """A list over its bound is refused before any of its items, in the front's own words."""
    data = orjson.dumps({"model": "a", "messages": [0] * 1025})
    text = await refused(scripted_http, path, data)
    assert "messages" in text
    assert "must have at most 1024 items, got 1025" in text


@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions"])
async def test_a_body_at_its_limit_and_above(
    scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """A body of the limit is read, packed or not, and a byte more is refused."""
    body = PROMPT.ljust(MAX_BODY_BYTES)
    for data, headers in (
        (body, JSON),
        (gzip.compress(body), {**JSON, "Content-Encoding": "gzip"}),
    ):
        async with scripted_http.post(path, data=data, headers=headers) as response:
            assert response.status == 200, await response.text()
    for data, headers in (
        (body + b" ", JSON),
        (gzip.compress(body + b" "), {**JSON, "Content-Encoding": "gzip"}),
    ):
        async with scripted_http.post(path, data=data, headers=headers) as response:
            assert response.status == 413
            assert str(MAX_BODY_BYTES) in await response.text()
