"""The service against its own document, by cases that nobody thought of."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from ..browser.services import ScriptedService
from ..server.scripted_engine import MODEL_ID
from .conftest import MAX_TOKENS

pytestmark = pytest.mark.clients
_HERE = Path(__file__).parent
_NUM_CASES = 3000


async def test_the_service_does_what_its_document_says(
    schemathesis: Path, unpaced_service: ScriptedService, tmp_path: Path
) -> None:
    """All checks hold: no 5xx, no answer that the document does not have, no wrong refusal."""
    process = await asyncio.create_subprocess_exec(
        schemathesis,
        f"--config-file={_HERE / 'schemathesis.toml'}",
        "run",
        f"{unpaced_service.url}/api/openapi.json",
        "--checks=all",
        # No route leaves anything behind that a later one could use: there are no states to walk.
        "--phases=examples,coverage,fuzzing",
        "--max-examples=40",
        "--workers=1",
        "--continue-on-failure",
        "--generation-database=none",
        "--seed=1",
        "--no-color",
        "--request-timeout=60",
        "--suppress-health-check=all",
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(_HERE),
            "TOKENWIRE_MODEL": MODEL_ID,
            "TOKENWIRE_MAX_TOKENS": str(MAX_TOKENS),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    report = output.decode()
    assert process.returncode == 0, report
    generated = re.search(r"(\d[\d,]*) generated", report)
    assert generated is not None
    assert int(generated[1].replace(",", "")) >= _NUM_CASES
