"""An environment of its own for each client: its newest release, below `build/clients`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
_BUILD = ROOT / "build" / "clients"
_INSTALL_TIMEOUT_S = 600.0
# Newest means of this day: an environment that is older is made anew.
_MAX_AGE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Client:
    """A client: packages of PyPI or, for a script in JavaScript, of npm, and its calls."""

    name: str
    packages: tuple[str, ...]
    script: str
    min_cases: int
    num_left: int
    """How many answers of the model `endless` it leaves."""

    async def command(self) -> list[str]:
        """Installs the packages; returns what runs the script. Skips where a tool is missing."""
        is_node = self.script.endswith(".mjs")
        if is_node and (shutil.which("node") is None or shutil.which("npm") is None):
            pytest.skip("needs the Debian packages nodejs and npm")
        folder = _BUILD / self.name
        stamp = folder / ".installed"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > _MAX_AGE_S:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            await (self._install_node(folder) if is_node else self._install_python(folder))
            stamp.touch()
        if not is_node:
            return [str(folder / "bin" / "python"), str(SCRIPTS / self.script)]
        # Modules are looked for beside the script that imports them.
        for script in SCRIPTS.glob("*.mjs"):
            shutil.copy(script, folder)
        return ["node", str(folder / self.script)]

    async def _install_python(self, folder: Path) -> None:
        await run(sys.executable, "-m", "venv", str(folder))
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        await run(*pip, "--disable-pip-version-check", *self.packages)

    async def _install_node(self, folder: Path) -> None:
        await run(
            "npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *self.packages
        )


CLIENTS = (
    Client("openai-python", ("openai",), "openai_python.py", 42, 3),
    Client("openai-node", ("openai", "zod"), "openai_node.mjs", 20, 1),
    Client("langchain", ("langchain-openai",), "langchain_openai_chat.py", 17, 1),
    Client("litellm", ("litellm",), "litellm_calls.py", 16, 0),
    Client("vercel-ai", ("ai", "@ai-sdk/openai-compatible", "zod"), "vercel_ai.mjs", 13, 1),
)


async def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Runs a command to its end, and returns what it wrote to standard output."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env
    )
    try:
        async with asyncio.timeout(_INSTALL_TIMEOUT_S):
            output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (output + complaints).decode(errors="replace")[-4000:]
    return output.decode()
