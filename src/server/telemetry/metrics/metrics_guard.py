"""Who may read the metrics: what stands before them on their port."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from ....error_table import TRAITS
from ...contract.errors import AccessRefused, Unauthenticated
from ..refusal_line import log_refusal

Check = Callable[[Iterable[tuple[str, str | bytes]]], object]
"""Is given the headers of a request, and raises `AccessRefused` where it is refused."""

# Any: wsgiref's types have no names outside of stubs.
WsgiApp = Callable[..., Iterable[bytes]]

_HEADERS = {"HTTP_AUTHORIZATION": "authorization", "HTTP_X_API_KEY": "x-api-key"}


def allow_all(_headers: Iterable[tuple[str, str | bytes]]) -> None:
    """Refuses nobody."""


def guarded(app: WsgiApp, check: Check) -> WsgiApp:
    """Returns an application that answers only those who pass the check."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = [(name, environ[key]) for key, name in _HEADERS.items() if key in environ]
        try:
            check(headers)
        except AccessRefused as error:
            log_refusal(error, "metrics", environ["REMOTE_ADDR"])
            return _refuse(error, start_response)
        return app(environ, start_response)

    return answer


def _refuse(error: AccessRefused, start_response: Any) -> Iterable[bytes]:
    traits = TRAITS[error.reason]
    status = HTTPStatus(traits.http_status)
    headers = [("Content-Type", "application/json")]
    if error.reason == Unauthenticated.reason:
        headers.append(("WWW-Authenticate", "Bearer"))
    start_response(f"{status.value} {status.phrase}", headers)
    return [json.dumps({"error": error.message, "code": traits.rest_code}).encode()]
