"""`tokenwire chat` against a scripted service: what goes where."""

from __future__ import annotations

import asyncio
import builtins
import io
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from tokenwire.client import ReasoningDelta, TextDelta, ToolCallDelta
from tokenwire.commands import talk
from tokenwire.commands.answer_view import AnswerView
from tokenwire.tls.watched_credentials import WatchedCredentials

from .certificates import PairFiles
from .client.answers import CALLED, HELLO, end, failing, text, thinking, tool_call, whole
from .client.scripted_service import ScriptedService, serving
from .test_cli import Result, tokenwire

ANSWER = whole(
    thinking("so\nmany"),
    text("Hel"),
    text("lo"),
    *tool_call("c1", "weather", '{"city":', '"Oslo"}'),
    end(CALLED),
)


async def ask(tmp_path: object, service: ScriptedService) -> Result:
    async with serving(service) as port:
        return await tokenwire(tmp_path, "chat", "Hi", "--target", f"127.0.0.1:{port}")  # type: ignore[arg-type]


async def test_thinking_and_calls_are_beside_the_answer(tmp_path: object) -> None:
    """Piped, the output is the answer alone; thinking and calls of tools are told beside it."""
    async with asyncio.timeout(60):
        status, out, err = await ask(tmp_path, ScriptedService([], ANSWER))
    assert (status, out) == (0, "Hello\n")
    first, second, called, numbers = err.splitlines()
    assert (first, second) == ("so", "many")
    assert called == 'calls weather {"city":"Oslo"}'
    assert numbers.startswith("2 tokens")


async def test_failure_is_one_line(tmp_path: object) -> None:
    """A call that fails is told with its reason, and is not tried again."""
    service = ScriptedService([], [failing(retry_s=0.001)])
    async with asyncio.timeout(60):
        status, out, err = await ask(tmp_path, service)
    assert (status, out) == (1, "")
    assert err.endswith(": no (UNAVAILABLE, AT_CAPACITY)\n")


async def test_ctrl_c_has_its_status(tmp_path: Path) -> None:
    """Ctrl-C in an answer ends the command with the status that shells know it by."""
    service = ScriptedService([], [*HELLO[:2], asyncio.Event()])
    async with asyncio.timeout(60), serving(service) as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tokenwire", "chat", "Hi", "--target", f"127.0.0.1:{port}"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=dict(os.environ),
        )
        assert process.stdout is not None
        assert await process.stdout.read(3) == b"Hel"
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err) == (130, b"stopped\n")


@pytest.mark.parametrize(("end", "status"), [(KeyboardInterrupt, 130), (EOFError, 0)])
def test_prompt_ends(
    monkeypatch: pytest.MonkeyPatch, end: type[BaseException], status: int
) -> None:
    """So does Ctrl-C at the prompt; the end of the input is no failure."""

    def ask(_: str) -> str:
        raise end

    monkeypatch.setattr(builtins, "input", ask)
    conversation: Any = SimpleNamespace(model="owner/model")
    assert talk._interactive(conversation) == status


async def test_hangs_up_without_tls(tmp_path: Path) -> None:
    """A server that hangs up on plain text, or on a client without certificate, gets a hint."""
    pair = PairFiles(tmp_path / "pair")
    pair.replace("127.0.0.1")
    watched = WatchedCredentials(pair.pem_files(has_authorities=True), "grpc")
    async with asyncio.timeout(60), serving(ScriptedService(), watched.grpc_credentials()) as port:
        target = ("--target", f"127.0.0.1:{port}")
        trust = ("--tls", "--tls-ca-cert", str(pair.authorities))
        _, _, plain = await tokenwire(tmp_path, "models", *target)
        _, _, bare = await tokenwire(tmp_path, "models", *target, *trust)
    _, _, nobody = await tokenwire(tmp_path, "models", "--target", "127.0.0.1:1")
    assert plain.endswith(" (does the server speak TLS? try --tls)\n")
    assert bare.endswith(" (the certificate of the server or of this client may be refused)\n")
    assert nobody.endswith("Connection refused (UNAVAILABLE)\n")


def test_terminal_shows_them_in_order() -> None:
    """On a terminal everything stands in the order in which it came."""
    view = AnswerView()
    written = io.StringIO()
    view._out = Console(file=written, force_terminal=True, width=60)
    view._live.console = view._out
    view.show(
        [
            ReasoningDelta("hm"),
            TextDelta("Let me see."),
            ToolCallDelta(0, "c1", "weather"),
            ToolCallDelta(0, arguments="{}"),
        ]
    )
    shown = written.getvalue()
    # The last of each: lines are drawn again while they grow.
    places = [shown.rindex(words) for words in ("hm", "Let me see.", "calls weather {}")]
    assert places == sorted(places)
