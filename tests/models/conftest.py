"""Checkpoints and references that the tests of this package share. `make test-models` runs them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine_settings import ModelFiles
from tokenwire.server.engines.sglang.front.converted import provide_converted

from .architectures import ARCHITECTURES
from .checkpoints import REFERENCES, Reference
from .gguf_checkpoints import GGUF_ARCHITECTURES
from .results import VARIABLE, Results

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """What is found, written to the file that `TOKENWIRE_MODEL_RESULTS` names."""
    found = Results()
    yield found
    if file := os.environ.get(VARIABLE):
        found.write(Path(file))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def small_model(sglang_model_files: ModelFiles) -> Path:
    """SmolLM2 as safetensors: it lends its tokenizer, and transformers reads it."""
    return (await provide_converted(sglang_model_files, lambda _: None)).path


async def run_python(module: str, *arguments: str, stdin: str = "") -> str:
    """Runs a module of this package in a process of its own and returns what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"{__package__}.{module}", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=dict(os.environ) | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    output, complaints = await process.communicate(
        stdin.encode()
    )  # bounded by the test's own timeout
    assert process.returncode == 0, complaints.decode()[-4000:]
    return output.decode()


@dataclass(frozen=True, slots=True)
class TinyModels:
    """Checkpoints below `root`, and what transformers answers with each of them."""

    root: Path
    references: dict[str, list[Reference]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tiny_models(
    small_model: Path, gguf_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> TinyModels:
    """Every architecture as safetensors and, where a conversion is known, as GGUF."""
    root = tmp_path_factory.mktemp("models")
    names = [architecture.name for architecture in ARCHITECTURES]
    await run_python("checkpoints", str(small_model), str(root), *names)
    gguf_names = [architecture.name for architecture in GGUF_ARCHITECTURES]
    await run_python("gguf_checkpoints", str(gguf_file), str(root), *gguf_names)
    references = json.loads((root / REFERENCES).read_text())
    return TinyModels(
        root, {name: [Reference(**one) for one in found] for name, found in references.items()}
    )
