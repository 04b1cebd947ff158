"""The port that metrics are read from."""

from __future__ import annotations

import gzip
import selectors
import socket
import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry

from ....metrics.forms import choose_form
from ...settings.fixed_limits import MAX_SCRAPES
from .metrics_guard import Check, WsgiApp, allow_all, guarded

_SERVER: Final = "tokenwire"
_REQUEST_TIMEOUT_S: Final = 10.0
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_GZIP_LEVEL: Final = 1  # a fifteenth of the size, in less than half a millisecond


class MetricsServer:
    """Serves a registry over HTTP from a thread of its own, also while the event loop is busy.

    `listening` is a socket that listens already, for whoever needs to know the port before.
    `check` says who may read, in any thread.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        hostname: str,
        port: int,
        listening: socket.socket | None = None,
        *,
        check: Check = allow_all,
    ) -> None:
        self._registry = registry
        self._hostname = hostname
        self._port = port
        self._listening = listening
        self._check = check
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> MetricsServer:
        """Starts to listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        listening = self._listening or listen(self._hostname, self._port)
        self._server = _Server(listening)
        self._server.set_app(_named(guarded(_application(self._registry), self._check)))
        self._port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()
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
            self._thread.join(timeout=5)
            self._server.server_close()

    @property
    def port(self) -> int:
        """The port in use, also where any free one was asked for."""
        return self._port


def listen(hostname: str, port: int) -> socket.socket:
    """Listens on an address; raises OSError where that cannot be."""
    family, _, _, _, address = socket.getaddrinfo(
        hostname, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    timeout = 0  # of `handle_request`, which comes when there is one

    def __init__(self, listening: socket.socket) -> None:
        self._places = threading.BoundedSemaphore(MAX_SCRAPES)
        super().__init__(("", 0), _RequestHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        # What binding would set, without a look-up of the machine's name.
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self._bell, self._bell_button = socket.socketpair()

    def serve_forever(self, poll_interval: float = 0.0) -> None:  # noqa: ARG002 - of the base class
        """Serves until `shutdown`, which that of the base class looks for twice a second alone."""
        with selectors.DefaultSelector() as ready:
            ready.register(self, selectors.EVENT_READ)
            ready.register(self._bell, selectors.EVENT_READ)
            while all(key.fileobj is self for key, _ in ready.select()):
                self.handle_request()

    def shutdown(self) -> None:
        """Has `serve_forever` return; does not wait for it."""
        self._bell_button.close()

    def server_close(self) -> None:
        """Closes the sockets."""
        super().server_close()
        self._bell.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread, or hangs up where too many are open."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


class _RequestHandler(WSGIRequestHandler):
    """Answers what is no HTTP, too, without the version of Python; logs nothing."""

    timeout = _REQUEST_TIMEOUT_S

    def version_string(self) -> str:
        return _SERVER

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _named(app: WsgiApp) -> WsgiApp:
    # wsgiref adds the version of Python to each answer that names no server, refusals among them.
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> None:
            start_response(status, [*headers, ("Server", _SERVER)])

        return app(environ, start)

    return answer


def _application(registry: CollectorRegistry) -> WsgiApp:
    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, *headers: tuple[str, str]) -> None:
            start_response(status, list(headers))

        if environ["PATH_INFO"] != "/metrics":
            start("404 Not Found", _TEXT)
            return [b"metrics are at /metrics\n"]
        if environ["REQUEST_METHOD"] != "GET":
            start("405 Method Not Allowed", _TEXT, ("Allow", "GET"))
            return [b"metrics are read with GET\n"]
        encode, content_type = choose_form(environ.get("HTTP_ACCEPT", ""))
        page = encode(registry)
        headers = [("Content-Type", content_type)]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            page = gzip.compress(page, _GZIP_LEVEL)
            headers.append(("Content-Encoding", "gzip"))
        start("200 OK", *headers)
        return [page]

    return answer
