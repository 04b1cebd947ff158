"""A service whose answers are short, and schemathesis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from ..browser.services import ScriptedService, scripted_services
from ..server.scripted_engine import ScriptedEngine

_ROOT = Path(__file__).resolve().parents[2]
_VERSION = "4.32.5"
MAX_TOKENS = 2
_NUM_SLOTS = 32  # n may be 16
_CONTEXT_LENGTH = 1_000_000
_VOCAB_SIZE = 2**32  # whatever fits into a field is a token


@pytest.fixture(scope="session")
def schemathesis() -> Path:
    """Its command, in an environment of its own: it brings a web stack that we do not have."""
    folder = _ROOT / "build" / f"schemathesis-{_VERSION}"
    command = folder / "bin" / "schemathesis"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, f"schemathesis=={_VERSION}"], check=True)
    return command


class UnpacedEngine(ScriptedEngine):
    """Generates at once what it is asked for."""

    async def _take_token(self) -> None:
        """Waits for no test."""


@pytest_asyncio.fixture(loop_scope="session")
async def unpaced_service() -> AsyncIterator[ScriptedService]:
    """Edge and front whose answers are short, and come at once."""
    engine = UnpacedEngine(context_length=_CONTEXT_LENGTH, max_running=_NUM_SLOTS)
    engine.info = replace(engine.info, vocab_size=_VOCAB_SIZE)
    limits = {
        "LLM_DEFAULT_MAX_TOKENS": str(MAX_TOKENS),
        "LLM_MAX_TOKENS_LIMIT": str(MAX_TOKENS),
        "LLM_MAX_CONCURRENT_REQUESTS": str(_NUM_SLOTS),
    }
    bodies = {"LLM_MAX_BODY_BYTES": str(4 * 1024 * 1024)}
    async with scripted_services(engine, front=limits, edge=bodies) as service:
        yield service
