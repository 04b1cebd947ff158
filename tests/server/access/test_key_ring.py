"""The keys in force, while their file changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tokenwire.environment import ConfigurationError
from tokenwire.server.access import key_ring
from tokenwire.server.access.key_ring import KeyRing, read_keys
from tokenwire.server.settings.access_settings import AccessSettings

from ..key_files import replace_file, write_keys

CALLS = ("Chat",)


class Counter:
    """Counts what could not be taken."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_rotation_keeps_old_and_new_until_one_goes(path: Path) -> None:
    """A key that is added is good after the next reading, one that is taken out is not."""
    old = write_keys(path, old="")
    ring = KeyRing(path, CALLS)
    both = write_keys(path, old="", new="")
    assert ring.keys.find(both["new"]) is None
    with capture_logs() as logs:
        ring.reload()
    assert ring.keys.find(both["new"]) is not None
    assert ring.keys.find(old["old"]) is None, "the name stayed, the key is another"
    assert [(log["event"], log["added"], log["removed"]) for log in logs] == [
        ("keys_taken", ["new"], [])
    ]


@pytest.mark.parametrize("broken", ["", "# none\n", "[keys.", "[keys.a]\nid = 'x'\n", None])
def test_a_broken_file_keeps_the_last_good_one(path: Path, broken: str | None) -> None:
    """Empty, no TOML, a wrong field, gone: counted and logged once each, and the old keys hold."""
    texts = write_keys(path, alice="")
    good = path.read_text()
    failures = Counter()
    ring = KeyRing(path, CALLS, failures)
    if broken is None:
        path.unlink()
    else:
        replace_file(path, broken)
    with capture_logs() as logs:
        ring.reload()
        ring.reload()
    assert [log["event"] for log in logs] == ["keys_not_taken"]
    assert logs[0]["log_level"] == "error"
    assert logs[0]["num_keys_in_force"] == 1
    assert failures.count == 1
    assert ring.keys.find(texts["alice"]) is not None
    replace_file(path, good)
    with capture_logs() as logs:
        ring.reload()
    assert [log["event"] for log in logs] == ["keys_taken"]
    assert ring.keys.find(texts["alice"]) is not None


def test_the_last_key_is_revoked(path: Path) -> None:
    """An empty table is taken, and warned of: nobody may call."""
    texts = write_keys(path, alice="")
    failures = Counter()
    ring = KeyRing(path, CALLS, failures)
    replace_file(path, "[keys]\n")
    with capture_logs() as logs:
        ring.reload()
    assert ring.keys.find(texts["alice"]) is None
    assert failures.count == 0
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("keys_taken", "info"),
        ("no_keys_in_force", "warning"),
    ]
    assert logs[0]["removed"] == ["alice"]


async def test_a_change_is_taken_while_it_is_watched(path: Path) -> None:
    """A ring that is watched needs nobody to ask it."""
    write_keys(path, alice="")
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()
    ring = KeyRing(path, CALLS, lambda: loop.call_soon_threadsafe(failed.set) and None)
    watching = asyncio.create_task(ring.watch(interval_s=0.001))
    replace_file(path, "broken")
    async with asyncio.timeout(45):
        await failed.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_what_nobody_foresaw_does_not_end_the_watch(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours while the file is read is counted, and its next state is looked at."""
    write_keys(path, alice="")
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()
    ring = KeyRing(path, CALLS, lambda: loop.call_soon_threadsafe(failed.set) and None)

    def fail(_data: bytes, _calls: object) -> None:
        raise RuntimeError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr(key_ring, "parse_keys", fail)
        watching = asyncio.create_task(ring.watch(interval_s=0.001))
        write_keys(path, alice="")
        async with asyncio.timeout(45):
            await failed.wait()
    failed.clear()
    replace_file(path, "broken")
    async with asyncio.timeout(45):
        await failed.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[keys.alice", "is not TOML: Expected ']' at the end of a table declaration (at end of"),
        ("[keys.alice]\nid = 1\n", "line 2: keys.alice.id: takes 16 hexadecimal digits"),
        (None, "No such file or directory"),
    ],
)
def test_a_broken_file_ends_the_start(path: Path, text: str | None, problem: str) -> None:
    """At the start there is no last good one: the variable, the file, line and field are named."""
    if text is not None:
        path.write_text(text)
    settings = AccessSettings.model_validate({"LLM_API_KEYS_FILE": str(path)})
    with pytest.raises(ConfigurationError) as raised:
        read_keys(settings)
    assert raised.value.problems[0].startswith(f"LLM_API_KEYS_FILE: {path}: {problem}")


def test_without_a_variable_there_is_no_ring() -> None:
    """Who names no file has no keys."""
    assert read_keys(AccessSettings.model_validate({})) is None


def test_calls_are_those_of_the_service(path: Path) -> None:
    """A scope may name every rpc of the service, and what else needs a key."""
    calls = '["Generate", "Chat", "ListModels", "metrics", "reflection", "swagger"]'
    write_keys(path, alice=f"calls = {calls}")
    assert read_keys(AccessSettings.model_validate({"LLM_API_KEYS_FILE": str(path)})) is not None
