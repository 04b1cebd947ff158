"""What importing the client costs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "aiohttp", "cryptography", "msgspec", "orjson", "prometheus_client", "protovalidate",
    "pydantic", "rich", "structlog", "tokenwire.edge", "tokenwire.server", "typer", "uvloop",
}  # fmt: skip


def loaded(module: str) -> set[str]:
    """The modules of a process that has imported one."""
    code = f"import {module}, sys; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_client_is_light() -> None:
    """A program that calls the service loads no server and nothing that only a server needs."""
    assert not loaded("tokenwire.client") & HEAVY


def test_probe_loads_no_client() -> None:
    """A probe, which starts every few seconds, loads none of the client."""
    names = loaded("tokenwire.commands.healthcheck")
    assert not {name for name in names if name.startswith(("tokenwire.client", "google.rpc"))}
