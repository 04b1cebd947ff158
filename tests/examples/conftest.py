"""A front with the real model, and the example clients as processes beside it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from ..server.fronts import Client, start_front
from ..surroundings import MODEL_ID

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
HANG_S = 300.0
"""A guard against hangs, npm's download included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended, and what it wrote."""

    status: int
    output: str
    complaints: str


@dataclass(frozen=True, slots=True)
class Example:
    """One of the clients, ready to run."""

    command: tuple[str, ...]
    environment: dict[str, str]

    async def run(self, front: Client, *arguments: str) -> Outcome:
        """Runs it against a front, to its end."""
        target = f"127.0.0.1:{front.app.port}"
        return await run(*self.command, "--target", target, *arguments, **self.environment)


async def run(*command: str, **environment: str) -> Outcome:
    """Runs a process to its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    try:
        async with asyncio.timeout(HANG_S):
            output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Outcome(process.returncode or 0, output.decode(), complaints.decode())


@pytest_asyncio.fixture(scope="module")
async def front() -> AsyncIterator[Client]:
    """A front on llama.cpp with one slot: who waits for it knows that the one before has left."""
    async with start_front(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="llamacpp",
        LLM_DEVICE="cpu",
        LLM_MAX_CONCURRENT_REQUESTS="1",
    ) as client:
        yield client


@pytest.fixture(scope="session")
def python_example() -> Example:
    """The Python client."""
    return Example((sys.executable, str(EXAMPLES / "python" / "chat.py")), {})


@pytest.fixture(scope="session")
def shell_example() -> Example:
    """The shell client, with the `buf` that is installed beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return Example((str(EXAMPLES / "shell" / "chat.sh"),), {"PATH": path})


@pytest_asyncio.fixture(scope="session")
async def node_example() -> Example:
    """The Node client, copied beside the packages that it needs.

    They are installed once, into the folder for temporary files.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on PATH: the Node client cannot be run")
    source = EXAMPLES / "node"
    digest = hashlib.sha256((source / "package.json").read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"tokenwire-examples-node-{os.getuid()}-{digest}"
    await asyncio.to_thread(shutil.copytree, source, folder, dirs_exist_ok=True)
    mark = folder / "node_modules" / ".complete"
    if not mark.exists():
        installed = await run(npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder))
        assert installed.status == 0, f"npm cannot install the packages:\n{installed.complaints}"
        mark.touch()
    return Example((node, str(folder / "chat.mjs")), {"TOKENWIRE_ROOT": str(ROOT)})
