"""The example clients, as their readers run them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from ..certificates import PairFiles
from ..server.fronts import Client, collect, start_front
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher
from .conftest import EXAMPLES, Example

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
CLIENTS = ("python_example", "node_example", "shell_example")
CLIENTS_WITH_OPTIONS = ("python_example", "node_example")


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Example:
    chosen: Example = request.getfixturevalue(request.param)
    return chosen


async def num_aborted(front: Client) -> float:
    """The front's own count of requests whose client left."""
    address = f"http://127.0.0.1:{front.app.metrics_port}/metrics"
    text = await asyncio.to_thread(lambda: urlopen(address, timeout=60).read().decode())
    found = re.search(
        r"^llm_requests_aborted_total\{cause=\"CLIENT_LEFT\",.*\} (\S+)$", text, re.MULTILINE
    )
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("example", CLIENTS, indirect=True)
async def test_answer_is_written(front: Client, example: Example) -> None:
    """A question is answered on standard output."""
    outcome = await example.run(front, QUESTION)
    assert (outcome.status, outcome.output) == (0, f"{ANSWER}\n"), outcome.complaints


@pytest.mark.parametrize("example", CLIENTS, indirect=True)
async def test_unknown_model_fails(front: Client, example: Example) -> None:
    """A model that is not served fails the client, which tells the server's words."""
    outcome = await example.run(front, "--model", "nobody/nothing", QUESTION)
    assert outcome.status != 0
    assert "no model 'nobody/nothing' here" in outcome.complaints


@pytest.mark.parametrize("example", CLIENTS_WITH_OPTIONS, indirect=True)
async def test_details_are_told(front: Client, example: Example) -> None:
    """A refused field is told with the reason and the field's path."""
    outcome = await example.run(front, "--temperature", "3", QUESTION)
    assert outcome.status == 1
    assert "INVALID_ARGUMENT" in outcome.complaints
    assert "reason: INVALID_REQUEST" in outcome.complaints
    assert "field: sampling.temperature: must be between 0 and 2, got 3" in outcome.complaints


@pytest.mark.parametrize("example", CLIENTS_WITH_OPTIONS, indirect=True)
async def test_cancel_frees_engine(front: Client, example: Example) -> None:
    """A cancelled call is aborted on the server, and its slot serves the next request."""
    before = await num_aborted(front)
    outcome = await example.run(front, "--max-characters", "10", "Tell a long story of the sea.")
    assert outcome.status == 0, outcome.complaints
    assert len(outcome.output) >= 10
    assert "cancelled" in outcome.complaints
    following = await collect(front.inference.Chat(front.chat(QUESTION)))
    assert following.finished is not None
    assert await num_aborted(front) == before + 1


async def test_shell_quotes_its_message(front: Client, shell_example: Example) -> None:
    """Quotes, backslashes and line ends of a message do not break the request."""
    outcome = await shell_example.run(front, 'Say "hi" \\ and\nthen\tstop.')
    assert outcome.status == 0, outcome.complaints


@pytest.mark.parametrize("example", CLIENTS, indirect=True)
async def test_tls(tmp_path: Path, example: Example) -> None:
    """With the CA a client is answered in TLS; with another's, and in plaintext, it is refused."""
    pair = PairFiles(tmp_path / "pair")
    pair.replace("localhost")
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, **pair.variables()) as secured:
        engine.allow(engine.info.context_length)
        target = ("--target", f"localhost:{secured.app.port}")
        outcome = await example.run(secured, *target, "--ca", str(pair.authorities), "hello")
        assert outcome.output.startswith("0 1 2 "), outcome.complaints
        other = PairFiles(tmp_path / "other").authorities
        for trusted in (("--ca", str(other)), ()):
            outcome = await example.run(secured, *target, *trusted, "hello")
            assert "0 1 2" not in outcome.output


def test_node_versions_are_exact() -> None:
    """Without a lock file, the versions themselves are what is reproducible."""
    package = json.loads((EXAMPLES / "node" / "package.json").read_text())
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", v) for v in package["dependencies"].values())
    assert not Path(EXAMPLES / "node" / "package-lock.json").exists()
