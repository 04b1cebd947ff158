"""Ollama's own client, which calls the same paths by other rules: its errors can be read."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from tokenwire.edge.app import EdgeApp

from ..edge.conftest import edge_config
from ..edge.scripted import ScriptedFront

pytestmark = pytest.mark.clients

PACKAGE = "ollama"
ENVIRONMENT = Path(__file__).parents[2] / "build" / "clients" / PACKAGE
PROGRAM = """
import json, sys, ollama
client = ollama.Client(host=sys.argv[1])
messages = [{"role": "user", "content": "hi"}]
calls = {
    "chat": lambda: client.chat(model="m", messages=messages),
    "chat streamed": lambda: list(client.chat(model="m", messages=messages, stream=True)),
    "generate": lambda: client.generate(model="m", prompt="hi", options={"temperature": 0}),
    "generate streamed": lambda: list(client.generate(model="m", prompt="hi", stream=True)),
    "list": client.list,
    "show": lambda: client.show("m"),
    "ps": client.ps,
    "pull": lambda: client.pull("m"),
    "delete": lambda: client.delete("m"),
    "embed": lambda: client.embed(model="m", input="x"),
}
told = {}
for name, call in calls.items():
    try:
        told[name] = [0, repr(call())]
    except ollama.ResponseError as error:
        told[name] = [error.status_code, error.error]
print(json.dumps(told))
"""
GUARD_S = 300
SENTENCE = "Ollama's API, which is not served here: use OpenAI's, whose base URL ends in /v1"


async def output_of(*command: str | Path) -> tuple[int, str]:
    """Runs a program; returns its status and all that it wrote."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(GUARD_S):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.fixture(scope="module")
async def python() -> Path:
    """The Python of an environment that holds the client in its newest version."""
    python = ENVIRONMENT / "bin" / "python"
    for command in (
        (sys.executable, "-m", "venv", ENVIRONMENT),
        (python, "-m", "pip", "install", "--quiet", "--upgrade", PACKAGE),
    ):
        status, output = await output_of(*command)
        if status:
            pytest.skip(f"the package {PACKAGE} cannot be installed: {output[-500:]}")
    return python


async def test_errors_are_readable(python: Path) -> None:
    """Each call raises the client's own exception with our sentence, streamed calls too."""
    async with (
        ScriptedFront() as front,
        EdgeApp(edge_config(LLM_GRPC_TARGET=front.target)) as edge,
    ):
        status, output = await output_of(python, "-c", PROGRAM, f"http://127.0.0.1:{edge.port}")
    assert status == 0, output
    told = json.loads(output)
    assert len(told) == 10
    for name, (code, error) in told.items():
        is_route = name.startswith(("chat", "generate"))
        assert code == (400 if is_route else 404), name
        assert error.endswith(SENTENCE), error
        begin = "Bad request: the header User-Agent" if is_route else "no route /api/"
        assert error.startswith(begin), error
