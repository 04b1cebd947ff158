"""A process environment that holds nothing but what a test puts in."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tokenwire.commands.start import known_variables

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PATIENT_PROBE = ("-connect-timeout=60s", "-rpc-timeout=60s")
"""Flags of `tokenwire healthcheck`, whose own second is short on a busy machine."""


def surround(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> None:
    """Moves into `folder` and sets exactly `variables` among those that the service reads."""
    monkeypatch.chdir(folder)
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def free_port() -> int:
    """Returns a port of this machine where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
