"""A hub on this machine, and a cache that is filled from it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from .mirror import HubMirror
from .place import FILES, REPO, HubPlace


@pytest.fixture
async def mirror() -> AsyncGenerator[HubMirror]:
    async with HubMirror({REPO: dict(FILES)}).serve() as server:
        yield server


@pytest.fixture
def place(mirror: HubMirror, tmp_path: Path) -> HubPlace:
    return HubPlace(mirror, tmp_path)
