"""The commands of the README, run as they are printed against a service on other ports."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig

from ..server.fronts import start_front
from ..surroundings import MODEL_ID
from .pages import ROOT

HANG_S = 300.0
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = BLOCK.findall(README)


@dataclass(frozen=True, slots=True)
class Service:
    """The ports of a front and its edge."""

    grpc_port: int
    http_port: int

    def here(self, text: str) -> str:
        """Puts our ports in the place of the documented ones."""
        return text.replace("localhost:50051", f"localhost:{self.grpc_port}").replace(
            "localhost:8091", f"localhost:{self.http_port}"
        )


@pytest_asyncio.fixture(scope="module")
async def service() -> AsyncIterator[Service]:
    """The real model on llama.cpp behind a front and an edge."""
    async with start_front(
        LLM_ALLOWED_MODELS=MODEL_ID, LLM_ENGINE="llamacpp", LLM_DEVICE="cpu"
    ) as client:
        config = EdgeConfig.model_validate(
            {
                "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
                "LLM_INFERENCE_PORT": "0",
                "LLM_GRPC_TARGET": f"127.0.0.1:{client.app.port}",
            }
        )
        async with EdgeApp(config) as edge:
            yield Service(client.app.port, edge.port)


def name_of(command: tuple[str, str]) -> str:
    return " ".join(command[1].split()[:7])


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
async def test_command_works(service: Service, command: tuple[str, str], tmp_path: Path) -> None:
    """Each command ends well and answers something that is no error."""
    language, text = command
    if "from openai" in text:
        pytest.importorskip("openai", reason="needs the package openai, which comes with SGLang")
    shell = ("bash", "-euc") if language == "bash" else (sys.executable, "-c")
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LLM_ALLOWED_MODELS": MODEL_ID,
        "LLM_GRPC_PORT": str(service.grpc_port),
        "LLM_GRPC_TARGET": f"localhost:{service.grpc_port}",
    }
    process = await asyncio.create_subprocess_exec(
        *shell,
        service.here(text),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
        cwd=tmp_path,
    )
    try:
        async with asyncio.timeout(HANG_S):
            output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()
    assert output.strip()
    assert b'"error"' not in output


def test_blocks_are_found() -> None:
    """The README has commands for the terminal and for Python."""
    assert {language for language, _ in COMMANDS} == {"bash", "python"}
