"""What a dialect is, and which one answers a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from .body import BodyReader, json_response
from .client import FrontClient
from .context import RequestContext
from .errors import Failure


def no_route(path: str) -> str:
    """Says no more of a path than that it is none."""
    return f"no route {path}"


@dataclass(frozen=True, slots=True)
class FailureAnswer:
    """A failure as a dialect writes it. `retry_after_s` is 0 where another try is no use."""

    status: int
    retry_after_s: int
    body: Mapping[str, Any]


def _no_headers(_context: RequestContext) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to write requests, answers and failures over HTTP; each is a package.

    `prefix` is how its paths begin: of several that fit the longest counts, and the one with an
    empty prefix, which there must be, takes what is no other's. `routes` returns the routes to
    register; their handlers use the package's codec and stream encoder, and nobody else does.
    `encode_failure` writes what fails before a stream begins, on routes and on unknown paths.
    `headers` are on all its responses beside those that every response has.
    `describe_missing` says of a path that is no route what its caller should know.

        ECHO = Dialect("/echo/", routes, encode_failure)  # `app.py` has it in `DIALECTS`
        message = await bodies.read(request, decode)  # in a handler
        events = front.events(front.stub.Chat, message, request[CONTEXT])
        return await send_stream(request, events, EchoStream())
    """

    prefix: str
    routes: Callable[[FrontClient, BodyReader], Sequence[web.RouteDef]]
    encode_failure: Callable[[Failure], FailureAnswer]
    headers: Callable[[RequestContext], Mapping[str, str]] = _no_headers
    describe_missing: Callable[[str], str] = no_route


# Set for every request by its path. A handler may put another one there for its failures.
DIALECT = web.RequestKey("dialect", Dialect)


def dialect_of(path: str, dialects: Sequence[Dialect]) -> Dialect:
    """Returns the dialect that a path belongs to, which may be the prefix without its slash."""
    fitting = (dialect for dialect in dialects if f"{path}/".startswith(dialect.prefix))
    return max(fitting, key=lambda dialect: len(dialect.prefix))


def error_response(failure: Failure, dialect: Dialect) -> web.Response:
    """Writes a failure as a whole HTTP response."""
    answer = dialect.encode_failure(failure)
    headers = dict(failure.headers)
    if answer.retry_after_s:
        headers["Retry-After"] = str(answer.retry_after_s)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 11.6.1: a 401 names how
    return json_response(answer.body, status=answer.status, headers=headers)
