"""When keys that anyone can read are warned about."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tokenwire.listening import warn_of_plaintext_keys
from tokenwire.server.app import ServerApp

from ...certificates import PairFiles
from ..fronts import make_config
from ..key_files import write_keys
from ..scripted_engine import ScriptedEngine, ScriptedLauncher


@pytest.mark.parametrize(
    ("hostname", "is_warned"),
    [
        ("0.0.0.0", True),
        ("::", True),
        ("gpu-1", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("localhost", False),
    ],
)
def test_plaintext_beyond_this_machine_is_warned_of(hostname: str, is_warned: bool) -> None:
    """Where it is reachable from elsewhere: once, as a warning."""
    with capture_logs() as logs:
        warn_of_plaintext_keys(hostname)
    assert [log["log_level"] for log in logs] == ["warning"] * is_warned


@pytest.mark.parametrize(("has_keys", "has_tls"), [(True, False), (True, True), (False, False)])
async def test_a_front_warns_where_it_has_keys_and_no_tls(
    tmp_path: Path, has_keys: bool, has_tls: bool
) -> None:
    """At its start, on the address that it listens on."""
    write_keys(tmp_path / "keys.toml", alice="")
    variables = {"LLM_GRPC_HOSTNAME": "0.0.0.0"}
    if has_keys:
        variables["LLM_API_KEYS_FILE"] = str(tmp_path / "keys.toml")
    if has_tls:
        variables |= PairFiles(tmp_path / "pair").variables()
    with capture_logs() as logs:
        async with ServerApp(make_config(**variables), ScriptedLauncher(ScriptedEngine()).prepare):
            pass
    is_warned = "keys_over_plaintext" in [log["event"] for log in logs]
    assert is_warned == (has_keys and not has_tls)
