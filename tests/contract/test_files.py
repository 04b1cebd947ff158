"""Where the files of a model are looked for; more of it in `tests/server/files`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ..server.files.hub.mirror import HubMirror
from ..server.files.model_place import Place, write
from ..server.files.test_model_finder import REPO, SAFETENSORS_FILES


async def test_three_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that notes what it is asked, before and behind a folder of the operator.

    > Files are looked for under `LLM_MODEL_PATH`, then in the Hugging Face cache (`HF_HOME`), then
    > fetched from `HF_ENDPOINT`.
    """
    async with HubMirror({REPO: dict(SAFETENSORS_FILES)}).serve() as hub:
        place = Place(monkeypatch, tmp_path, hub.url)
        own = write(place.models / REPO, SAFETENSORS_FILES)
        assert (await place.find(REPO)).path == own
        assert hub.requests == 0
        shutil.rmtree(own)
        fetched = (await place.find(REPO)).path
        assert place.home in fetched.parents
        assert sorted(hub.fetched) == sorted(SAFETENSORS_FILES)
        assert [step.fraction for step in place.steps][-1] == 1.0
        hub.status = 500
        assert (await place.find(REPO)).path == fetched
