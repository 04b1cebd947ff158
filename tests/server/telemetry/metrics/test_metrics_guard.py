"""What stands before the metrics on their port."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable

import pytest
from prometheus_client import Gauge
from structlog.testing import capture_logs
from tokenwire.metrics.readings import new_registry
from tokenwire.server.contract.errors import PermissionDenied, Unauthenticated
from tokenwire.server.telemetry.metrics.metrics_server import MetricsServer


def check(headers: Iterable[tuple[str, str | bytes]]) -> None:
    """Lets in one key, knows another."""
    text = dict(headers).get("x-api-key")
    if text == "known":
        raise PermissionDenied("not for metrics")
    if text != "good":
        raise Unauthenticated("an API key is required")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X-Api-Key": "good"}, 200, None),
        ({"X-Api-Key": "known"}, 403, "PERMISSION_DENIED"),
        ({"X-Api-Key": "bad"}, 401, "UNAUTHENTICATED"),
        ({}, 401, "UNAUTHENTICATED"),
    ],
)
def test_only_who_passes_reads_them(headers: dict[str, str], status: int, code: str | None) -> None:
    """Others get the status and the body of `/api`, and no metric."""
    registry = new_registry()
    Gauge("llm_secret", "What strangers should not see.", registry=registry)
    with MetricsServer(registry, "127.0.0.1", 0, check=check) as server:
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            body = response.read()
    assert response.status == status
    assert response.headers.get_all("Server") == ["tokenwire"]
    assert response.headers["WWW-Authenticate"] == ("Bearer" if status == 401 else None)
    if code is None:
        assert b"llm_secret 0.0" in body
    else:
        assert json.loads(body)["code"] == code


def test_a_refusal_is_logged_with_its_peer() -> None:
    """Where it came from, and no key where nobody knows whose it is."""
    with (
        capture_logs() as logs,
        MetricsServer(new_registry(), "127.0.0.1", 0, check=check) as server,
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60)
    refused.value.close()
    assert logs == [
        {
            "event": "access_refused",
            "log_level": "info",
            "method": "metrics",
            "peer": "127.0.0.1",
            "reason": "UNAUTHENTICATED",
        }
    ]
