"""HTTP requests that are nearly right: their lines, their headers, the length they tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

_ODD_HEADERS: Final = (
    "X-Request-Id: \xff\xfe", "X-Request-Id: " + "a" * 200, "X-Request-Id: a b\tc",
    "X-Request-Id:", "grpc-timeout: 20S", "grpc-timeout: -1S", "grpc-timeout: 999999999H",
    "grpc-timeout: 1x", "grpc-timeout: \u0661S", "traceparent: 00-x-y-z",
    "traceparent: " + "0" * 55, "tracestate: =", "Authorization: Bearer",
    "Authorization: Bearer \x7f", "Authorization: Basic !!!", "x-api-key: \xe9",
    "Accept-Encoding: gzip;q=x, *;q=2", "Accept-Encoding: gzip", "Accept: nothing/none;q=NaN",
    "Origin: null", "Origin: https://a.example", "Origin: \xff", "Last-Event-ID: -1",
    "Last-Event-ID: a/99999999999999999999", "Last-Event-ID: \xff", "Expect: 100-continue",
    "Expect: 200-ok", "Cookie: a=b; c", "Range: bytes=0-1,5-", "If-None-Match: W/\"x\"",
    "If-Modified-Since: yesterday", "Upgrade: h2c", "Upgrade: websocket", "Connection: Upgrade",
    "Connection: \x01", "Host:", "Host: a b", "Host: [::1", "X-Forwarded-For: " + "1," * 500,
    "Content-Length: 3", "Content-Length: -1", "Content-Length: 0x10",
    "Content-Length: 99999999999999999999", "Content-Length: 5, 5", "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: xchunked",
    "Content-Type: application/json\x00", "A" * 9000 + ": b", "A: " + "b" * 9000, "no colon",
    ": empty", " folded", "Bad Name: x", "Name\t: x", "X: a\x00b", "X: a\x0bb",
    "Sec-WebSocket-Key: x", "Trailer: X", "TE: trailers", "X-HTTP-Method-Override: DELETE",
    "Content-Encoding: identity", "Date: never",
)  # fmt: skip
_METHODS: Final = (
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "PO ST",
    "PROPFIND", "M" * 100, "\xff", "", "PRI",
)  # fmt: skip
_VERSIONS: Final = (
    "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "HTTP/1.1 x", "", "http/1.1",
)  # fmt: skip
_ODD_PATHS: Final = (
    "/", "//", "/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/%", "/%zz",
    "/%ff%fe", "/\xff", "*", "http://[::1/x", "http://example.com/api/chat", "/api/chat/",
    "/api//chat", "/API/CHAT", "/v1/models/%2F..%2F", "/v1/models/\xe9", "/v1/embeddings",
    "/" + "a" * 9000, "/api/chat?" + "a=b&" * 500, "/?a=%", "/#f", "/api/chat;x=y",
    "/metrics?name[]=x", "/swagger-ui/../x", "/\u2028", "?", "", "/tokenwire/v1/models?page=-1",
    "/api/streams/%00", "/api/streams/" + "a" * 300, "/health/ready/",
)  # fmt: skip


def write_request(
    random: Random, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> bytes:
    """Returns the bytes of one request, and perhaps a few changes to its head.

    Where it stays as it is, it asks for the connection to be closed behind the answer.
    """
    version = "HTTP/1.1"
    lines = ["Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if "Content-Type" not in headers and body:
        lines.append("Content-Type: application/json")
    payload, length = _frame(random, body)
    lines += length
    is_odd = random.random() < 0.35
    if is_odd:
        for _ in range(random.choice((1, 1, 2, 5))):
            lines.insert(random.randrange(len(lines) + 1), random.choice(_ODD_HEADERS))
        if random.random() < 0.2:
            method = random.choice(_METHODS)
        if random.random() < 0.2:
            path = random.choice(_ODD_PATHS)
        if random.random() < 0.1:
            version = random.choice(_VERSIONS)
        if random.random() < 0.05:
            lines += [f"X-{number}: y" for number in range(200)]
        if random.random() < 0.05:
            del lines[random.randrange(len(lines))]
    end = "\n" if is_odd and random.random() < 0.05 else "\r\n"
    head = f"{method} {path} {version}{end}" + "".join(f"{line}{end}" for line in lines) + end
    data = head.encode("utf-8" if random.random() < 0.5 else "latin-1", "replace") + payload
    if is_odd and random.random() < 0.1:
        place = random.randrange(len(data))
        data = data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]
    if is_odd and random.random() < 0.05:
        data = data[: random.randrange(len(data))]
    if random.random() < 0.05:  # others behind it, on the same connection
        data += b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * random.choice((1, 3, 50))
    return data


def _frame(random: Random, body: bytes) -> tuple[bytes, list[str]]:
    """Returns a body as it is sent, and the header that says how long it is."""
    if not body:
        return body, random.choice(([], ["Content-Length: 0"]))
    kind = random.random()
    if kind < 0.8:
        return body, [f"Content-Length: {len(body)}"]
    if kind < 0.84:
        return body, [f"Content-Length: {len(body) + random.choice((-1, 1, 500, 10**7))}"]
    return random.choice(_CHUNKINGS)(random, body), ["Transfer-Encoding: chunked"]


def _chunks(random: Random, body: bytes) -> bytes:
    size = random.choice((1, 7, 4096)) if len(body) < 5000 else 4096
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _odd_chunks(random: Random, body: bytes) -> bytes:
    size = random.choice(
        (b"-1", b"zz", b"0x5", b"+5", b"ffffffffffffffffffff", b"5;a=b", b"5 ;" + b"x" * 9000, b"",
         b"5\n", b"00000000000000000005", b"5,5")
    )  # fmt: skip
    return (
        size
        + b"\r\n"
        + body[:5]
        + b"\r\n"
        + random.choice((b"0\r\n\r\n", b"", b"0\r\nX: y\r\n\r\n"))
    )


def _open_chunks(random: Random, body: bytes) -> bytes:
    whole = _chunks(random, body)
    return whole[: random.randrange(len(whole))]


_CHUNKINGS: Final[tuple[Callable[[Random, bytes], bytes], ...]] = (
    _chunks, _chunks, _odd_chunks, _open_chunks,
)  # fmt: skip
