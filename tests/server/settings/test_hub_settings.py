"""The variables of the hub mean what they mean to huggingface_hub."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import chain, combinations
from pathlib import Path

import pytest
from tokenwire.environment import load
from tokenwire.server.settings.hub_settings import HubSettings

from ...surroundings import surround

FOLDERS = {
    "HOME": "/home/somebody",
    "XDG_CACHE_HOME": "~/xdg",
    "HF_HOME": "$HOME/hf",
    "HF_HUB_CACHE": "~/hub/$HF_ENDPOINT",
}
SUBSETS = chain.from_iterable(combinations(list(FOLDERS)[1:], count) for count in range(4))
SCRIPT = """
import json, os, sys
from importlib import reload
import huggingface_hub.constants as constants
from huggingface_hub import get_token
results = []
for variables in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(variables)
    reload(constants)
    results.append((constants.HF_HUB_CACHE, get_token()))
print(json.dumps(results))
"""


def theirs(*surroundings: dict[str, str]) -> list[tuple[str, str | None]]:
    """What huggingface_hub takes for its cache and its token."""
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(surroundings),
        capture_output=True,
        text=True,
        check=True,
    )
    return [(cache, token) for cache, token in json.loads(process.stdout)]


def ours(
    monkeypatch: pytest.MonkeyPatch, folder: Path, variables: dict[str, str]
) -> tuple[str, str | None]:
    surround(monkeypatch, folder, **variables)
    settings = load(HubSettings)
    token = settings.hf_token
    return str(settings.hub_cache), token.get_secret_value() if token else None


def test_the_cache_lies_where_all_tools_have_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whichever of the variables are set, the folder is that of huggingface_hub."""
    cases = [{name: FOLDERS[name] for name in ("HOME", *names)} for names in SUBSETS]
    assert len(cases) == 8
    assert [ours(monkeypatch, tmp_path, case) for case in cases] == theirs(*cases)


def test_the_token_is_that_of_all_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HF_TOKEN wins over the file of HF_TOKEN_PATH, and that over the one in HF_HOME."""
    (tmp_path / "token").write_text("hf_home\n")
    (tmp_path / "other").write_text(" hf_other ")
    (tmp_path / "empty").write_text("\n")
    home = {"HOME": str(tmp_path), "HF_HOME": "~"}
    cases = [
        home,
        {**home, "HF_TOKEN_PATH": "~/other"},
        {**home, "HF_TOKEN_PATH": "~/other", "HF_TOKEN": "hf_variable"},
        {**home, "HF_TOKEN_PATH": "~/empty"},
        {**home, "HF_TOKEN_PATH": "~/nowhere"},
        {"HOME": "/nowhere"},
    ]
    found = [ours(monkeypatch, tmp_path, case) for case in cases]
    assert [token for _, token in found] == ["hf_home", "hf_other", "hf_variable", None, None, None]
    assert found == theirs(*cases)


def test_a_token_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is as good as none: most models need no token."""
    (tmp_path / "token").mkdir()
    assert ours(monkeypatch, tmp_path, {"HF_HOME": str(tmp_path)})[1] is None
