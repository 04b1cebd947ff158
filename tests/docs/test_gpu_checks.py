"""What docs/gpu-checks.md says of a host with no network: the sources are enough."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BESIDE_SGLANG = ("msgspec", "orjson", "pynvml")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Our sources, and of all other packages those alone that SGLang brings along."""
    (tmp_path / "tokenwire").symlink_to(ROOT / "src")
    for name in BESIDE_SGLANG:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        file = Path(spec.origin)
        source = file.parent if file.name == "__init__.py" else file
        (tmp_path / source.name).symlink_to(source)
    return tmp_path


def run(site: Path, *words: str) -> str:
    """Runs Python with no other third-party package within reach."""
    done = subprocess.run(
        [sys.executable, "-S", *words],
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return done.stdout


def test_nothing_else_is_within_reach(site: Path) -> None:
    """The other packages of the service cannot be imported there, SGLang neither."""
    names = ("structlog", "pydantic", "grpc", "aiohttp", "prometheus_client", "sglang", "torch")
    program = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    assert run(site, "-c", program) == "[]\n"


def test_checks_run_from_the_sources(site: Path, tmp_path: Path) -> None:
    """The program comes as far as to ask for SGLang itself."""
    check = ("--model", str(tmp_path), "--device", "cpu", "--only", "answer")
    output = run(site, "bench/gpu_checks.py", *check)
    assert "| answer | FAILED | SGLang is not installed" in output


def test_host_needs_no_more(site: Path) -> None:
    """The process that owns SGLang imports nothing but SGLang beside that."""
    host = "tokenwire.server.engines.sglang.host"
    assert run(site, "-c", f"import {host}.runtime, {host}.signals, {host}.host") == ""
