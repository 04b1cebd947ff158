"""What axe-core finds wrong with a page for people who cannot see or use a pointer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Page

_FOLDER = Path(__file__).resolve().parents[2] / "build" / "axe"
_SERIOUS = ("serious", "critical")


def read_axe() -> str:
    """Returns the program, from npm; skips the test without it."""
    file = _FOLDER / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm, which brings the package axe-core")
        install = [npm, "install", "--prefix", _FOLDER, "--no-fund", "--no-audit", "axe-core@4"]
        if subprocess.run(install, check=False, capture_output=True, timeout=120).returncode:
            pytest.skip("npm could not fetch the package axe-core")
    return file.read_text(encoding="utf-8")


async def serious_findings(page: Page) -> list[str]:
    """Returns rule and place of each finding that is serious or worse."""
    await page.evaluate(read_axe())
    result: dict[str, Any] = await page.evaluate("axe.run()")
    assert result["passes"], "nothing was looked at"
    return [
        f"{finding['id']}: {node['target']} {node['failureSummary']}"
        for finding in result["violations"]
        if finding["impact"] in _SERIOUS
        for node in finding["nodes"]
    ]
