"""Keys over plain text, where they are used."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from tokenwire.edge.app import EdgeApp

from ..certificates import PairFiles
from .conftest import edge_config
from .scripted import ScriptedFront


@pytest.mark.parametrize(
    ("hostname", "headers", "num_warnings"),
    [
        ("0.0.0.0", {"x-api-key": "tw_1"}, 1),
        ("0.0.0.0", {}, 0),
        ("127.0.0.1", {"x-api-key": "tw_1"}, 0),
    ],
)
async def test_the_first_key_in_plain_text_is_warned_of(
    scripted: ScriptedFront, hostname: str, headers: dict[str, str], num_warnings: int
) -> None:
    """Once, and only where other machines can send one."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_INFERENCE_HOSTNAME=hostname)
    with capture_logs() as logs:
        async with (
            EdgeApp(config) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        ):
            for _ in range(2):
                async with http.get("/api/llms", headers=headers) as response:
                    assert response.status == 200
    events = [log for log in logs if log["event"] == "keys_over_plaintext"]
    assert [log["log_level"] for log in events] == ["warning"] * num_warnings
    assert "tw_1" not in repr(logs)


async def test_a_key_in_tls_is_not_warned_of(scripted: ScriptedFront, tmp_path: Path) -> None:
    """What is encrypted may come from anywhere."""
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target,
        LLM_GRPC_TARGET_TLS="false",
        LLM_INFERENCE_HOSTNAME="0.0.0.0",
        **PairFiles(tmp_path / "pair").variables(),
    )
    with capture_logs() as logs:
        async with (
            EdgeApp(config) as edge,
            aiohttp.ClientSession(f"https://127.0.0.1:{edge.port}") as http,
            http.get("/api/llms", headers={"x-api-key": "tw_1"}, ssl=False) as response,
        ):
            assert response.status == 200
    assert "keys_over_plaintext" not in [log["event"] for log in logs]
