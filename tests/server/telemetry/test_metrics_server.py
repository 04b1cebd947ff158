"""The port that metrics are read from."""

from __future__ import annotations

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


def test_port_that_is_taken() -> None:
    """A port that another one listens on is an error at the start."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        MetricsServer(new_registry(), "127.0.0.1", taken.getsockname()[1]).__enter__()
