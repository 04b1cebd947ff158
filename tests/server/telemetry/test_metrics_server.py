"""The port that metrics are read from."""

from __future__ import annotations

import http.client
import socket
import urllib.request

import pytest
from tokenwire import __version__
from tokenwire.server.telemetry.metrics_server import MetricsServer, new_registry


def test_registry_is_served() -> None:
    """What the registry holds is read over HTTP while it is entered, and not afterwards."""
    with MetricsServer(new_registry(), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            text = response.read().decode()
    assert f'llm_build_info{{version="{__version__}"}} 1.0' in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=10)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/metrics", 200), ("/metrics?name[]=x", 200), ("/", 404), ("/metrics/", 404), ("/x", 404)],
)
def test_only_metrics_are_there(path: str, status: int) -> None:
    """Any other path is 404, and no header tells what the server is made of."""
    with MetricsServer(new_registry(), "127.0.0.1", 0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        connection.close()
    assert response.status == status
    assert response.headers.get_all("Server") == ["tokenwire"]


def test_what_is_no_http_is_told_nothing() -> None:
    """A broken request line is refused without the version of Python."""
    with (
        MetricsServer(new_registry(), "127.0.0.1", 0) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as client,
    ):
        client.sendall(b"GET / x HTTP/1.1\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"Server: tokenwire\r\n" in answer
    assert b"Python" not in answer


def test_port_that_is_taken() -> None:
    """A port that another one listens on is an error at the start."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        MetricsServer(new_registry(), "127.0.0.1", taken.getsockname()[1]).__enter__()
