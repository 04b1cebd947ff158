"""What is wrong with a request that is no HTTP, told by the part that it is wrong in."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine, InvalidURLError, LineTooLong

from ..errors import EdgeError, invalid

# Parts of what the parser says, by which alone its failures can be told apart. The first counts.
_MEANINGS: Mapping[str, tuple[str, str]] = {
    "Received HTTPS traffic": ("request", "is TLS, and this port speaks plain HTTP"),
    "Pause on PRI": ("version", "must be HTTP/1.1: HTTP/2 is not spoken here"),
    "Invalid HTTP version": ("version", "must be HTTP/1.1 or HTTP/1.0"),
    "Invalid method": ("method", "is none of HTTP"),
    "present with Transfer-Encoding": ("Content-Length", "must not stand beside Transfer-Encoding"),
    "Transfer-Encoding": ("Transfer-Encoding", "must be chunked, once"),
    "Content-Length": ("Content-Length", "must be one whole number"),
    "'Host'": ("Host", "must be there, once"),
    "Duplicate": ("headers", "hold one twice that may be there once"),
    "chunk": ("body", "is not in the chunks that it is announced in"),
    "Data after": ("body", "is longer than its Content-Length"),
    "header": ("headers", "hold a line or a character that HTTP does not allow"),
}
# No type of its own says it.
_TOO_MANY_HEADERS = "Too many headers"


def describe_broken(
    exc: BaseException | None, *, max_header_bytes: int, max_headers: int
) -> EdgeError:
    """Says what the parser of HTTP found wrong, never in its words: they hold what arrived."""
    if isinstance(exc, LineTooLong):
        return head_too_large(
            f"the request line or a header is over the limit of {max_header_bytes} bytes",
            max_header_bytes,
        )
    said = exc.message.partition("\n\n")[0] if isinstance(exc, BadHttpMessage) else ""
    if said.startswith(_TOO_MANY_HEADERS):
        return head_too_large(
            f"there are more headers than the limit of {max_headers}", max_headers
        )
    if isinstance(exc, InvalidURLError):
        return invalid("path", "is neither a path nor an http address")
    for part, (field, description) in _MEANINGS.items():
        if part in said:
            return invalid(field, description)
    if isinstance(exc, BadStatusLine):
        return invalid("request line", "must be METHOD /path HTTP/1.1 and end with CR and LF")
    return invalid("request", "is not valid HTTP")


def head_too_large(message: str, limit: int) -> EdgeError:
    """Returns the failure of a request whose headers are beyond a limit."""
    return EdgeError("HEADERS_TOO_LARGE", message, metadata={"limit": str(limit)})
