"""The span of an HTTP request, after OpenTelemetry's conventions for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .tracer import Span

_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_SERVER_FAULT: Final = 500


def end_http(
    span: Span,
    *,
    method: str,
    route: str,
    path: str,
    scheme: str,
    status: int,
    failure: tuple[str, int] | None,
    peer: str,
    request_id: str,
) -> None:
    """Ends the span of a request that was answered with `status`.

    `route` is the template of the path, empty where none fits. `failure` has the reason, and the
    status that it has before an answer begins: a stream that fails was answered with 200.
    """
    if not span.is_recorded:
        return
    is_known = method in _METHODS
    attributes: dict[str, str | int] = {
        "http.request.method": method if is_known else "_OTHER",
        "http.response.status_code": status,
        "url.scheme": scheme,
        "tokenwire.request_id": request_id,
    }
    if route:  # a path that fits none is any text of the caller's
        attributes |= {"http.route": route, "url.path": path}
    if peer:
        attributes["network.peer.address"] = peer
    if failure is not None:
        attributes["tokenwire.reason"] = failure[0]
    worst = max(status, failure[1] if failure is not None else 0)
    is_fault = worst >= _SERVER_FAULT
    span.end(
        attributes,
        name=f"{method if is_known else 'HTTP'} {route}".rstrip(),
        error_type=str(worst) if is_fault else "",
        is_error=is_fault,
    )
