"""The port that metrics are read from."""

from __future__ import annotations

import gzip
import http.client
import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter
from tokenwire.metrics.readings import new_registry
from tokenwire.server.telemetry.metrics import metrics_server
from tokenwire.server.telemetry.metrics.metrics_server import MetricsServer, listen


def registry() -> CollectorRegistry:
    """A registry with one counter, that has an exemplar."""
    registry = new_registry()
    counter = Counter("llm_requests_finished", "Requests.", registry=registry)
    counter.inc(2, {"trace_id": "4bf9"})
    return registry


def test_registry_is_served() -> None:
    """What the registry holds is read over HTTP while it is entered, and not afterwards."""
    with MetricsServer(registry(), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as response:
            text = response.read().decode()
    assert "llm_requests_finished_total 2.0" in text.splitlines()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=60)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/metrics", 200), ("/metrics?name[]=x", 200), ("/", 404), ("/metrics/", 404), ("/x", 404)],
)
def test_only_metrics_are_there(path: str, status: int) -> None:
    """Any other path is 404, and no header tells what the server is made of."""
    with MetricsServer(registry(), "127.0.0.1", 0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        connection.close()
    assert response.status == status
    assert response.headers.get_all("Server") == ["tokenwire"]


def test_what_is_no_http_is_told_nothing() -> None:
    """A broken request line is refused without the version of Python."""
    with (
        MetricsServer(registry(), "127.0.0.1", 0) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as client,
    ):
        client.sendall(b"GET / x HTTP/1.1\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"Server: tokenwire\r\n" in answer
    assert b"Python" not in answer


def get(port: int, accept: str = "") -> tuple[str, str]:
    """The content type and the text of a page."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept} if accept else {}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.headers["Content-Type"], response.read().decode()


def test_who_sends_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that asks for nothing, or half of it, is closed after its time."""
    monkeypatch.setattr(metrics_server._RequestHandler, "timeout", 0.05)
    with MetricsServer(registry(), "127.0.0.1", 0) as server:
        for begun in (b"", b"GET /met"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
                client.sendall(begun)
                assert client.recv(65536) == b""


def test_connections_at_their_limit_and_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the limit are served, one more is hung up on; a place that is free is taken."""
    monkeypatch.setattr(metrics_server, "MAX_SCRAPES", 2)
    monkeypatch.setattr(metrics_server._RequestHandler, "timeout", 300)  # hangs up on no one here
    with MetricsServer(registry(), "127.0.0.1", 0) as server:
        place = ("127.0.0.1", server.port)
        with socket.create_connection(place, timeout=60) as silent:
            second = http.client.HTTPConnection(*place, timeout=60)
            second.connect()
            with socket.create_connection(place, timeout=60) as third:
                assert third.recv(1) == b""
            second.request("GET", "/metrics")
            assert second.getresponse().read()
            second.close()
            silent.close()
            while True:  # until the threads of those that have gone have seen it
                try:
                    url = f"http://127.0.0.1:{server.port}/metrics"
                    with urllib.request.urlopen(url, timeout=60) as response:
                        assert response.status == 200
                    break
                except (OSError, http.client.HTTPException):
                    continue


def test_open_metrics_have_exemplars() -> None:
    """Who asks for OpenMetrics gets it, with the trace of a request; others get what they know."""
    with MetricsServer(registry(), "127.0.0.1", 0) as server:
        kind, text = get(server.port, "application/openmetrics-text; version=1.0.0")
        plain_kind, plain = get(server.port)
    assert kind.startswith("application/openmetrics-text")
    assert 'llm_requests_finished_total 2.0 # {trace_id="4bf9"} 2.0' in text
    assert text.endswith("# EOF\n")
    assert plain_kind.startswith("text/plain; version=0.0.4")
    assert "trace_id" not in plain
    assert "_created" not in plain


def test_packed_page() -> None:
    """Who takes gzip gets it."""
    with MetricsServer(registry(), "127.0.0.1", 0) as server:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/metrics", headers={"Accept-Encoding": "gzip"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert b"llm_requests_finished_total 2.0" in gzip.decompress(response.read())


def test_metrics_are_only_read() -> None:
    """Another method than GET is 405."""
    with MetricsServer(registry(), "127.0.0.1", 0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/metrics", "x")
        response = connection.getresponse()
        assert (response.status, response.headers["Allow"]) == (405, "GET")
        connection.close()


def test_socket_that_listens_already() -> None:
    """Whoever has to know the port opens the socket; what came before the server is answered."""
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        client.request("GET", "/metrics")  # waits in the backlog
        with MetricsServer(registry(), "", 0, listening) as server:
            assert server.port == port
            assert client.getresponse().status == 200
        client.close()


def test_port_that_is_taken() -> None:
    """A port that another one listens on is an error at the start."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        MetricsServer(registry(), "127.0.0.1", taken.getsockname()[1]).__enter__()
