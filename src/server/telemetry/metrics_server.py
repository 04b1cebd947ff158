"""The port that metrics are read from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from ... import __version__

_SERVER = "tokenwire"


class MetricsServer:
    """Serves a registry over HTTP from a thread of its own, also while the event loop is busy."""

    def __init__(self, registry: CollectorRegistry, hostname: str, port: int) -> None:
        self._registry = registry
        self._hostname = hostname
        self._port = port
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> MetricsServer:
        """Starts to listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._server, self._thread = start_http_server(
            self._port, self._hostname, registry=self._registry
        )
        # It has no option for either: it would answer any path, and with the version of Python.
        metrics: Any = self._server.get_app()
        self._server.set_app(_at_metrics(metrics))
        self._server.RequestHandlerClass = _RequestHandler
        self._port = self._server.server_port
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops listening."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(timeout=5)

    @property
    def port(self) -> int:
        """The port in use, also where any free one was asked for."""
        return self._port


class _RequestHandler(WSGIRequestHandler):
    """Answers what is no HTTP, too, without the version of Python; logs nothing."""

    def version_string(self) -> str:
        return _SERVER

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _at_metrics(metrics: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    # Any: wsgiref's types have no names outside of stubs.
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> Any:
            return start_response(status, [*headers, ("Server", _SERVER)])

        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start)
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"metrics are at /metrics\n"]

    return answer


def new_registry() -> CollectorRegistry:
    """Makes a registry that holds the process's own figures and the version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    build = Gauge("llm_build_info", "Version of the server.", ("version",), registry=registry)
    build.labels(__version__).set(1)
    return registry
