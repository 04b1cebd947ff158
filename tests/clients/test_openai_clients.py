"""OpenAI's clients and those that are built on them, each in an environment of its own.

Each script makes the calls of its client, one case after the other: chats and streams, tools in
a loop, schemas with `parse()`, log-probabilities, `n`, images refused, failures as types of their
own, another try after 503, and answers that are left in the middle.
"""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from tokenwire.edge.app import EdgeApp

from .environments import CLIENTS, Client, run
from .scripted_answers import Answers


@pytest.mark.timeout(900)  # installs the client, and the real model answers on a CPU
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
async def test_every_call_of_the_client_does_what_it_should(
    client: Client, surroundings: dict[str, str], answers: tuple[Answers, EdgeApp]
) -> None:
    """And every answer that it leaves in the middle is cancelled at the engine."""
    seen, _ = answers
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **surroundings}
    output = await run(*await client.command(), env=env)
    told = [json.loads(line) for line in output.splitlines() if line.startswith('{"case"')]
    failed = {case["case"]: case["problem"] for case in told if case["problem"]}
    assert not failed, "\n\n".join(f"{name}: {problem}" for name, problem in failed.items())
    assert len(told) >= client.min_cases, [case["case"] for case in told]
    async with asyncio.timeout(60):
        await seen.all_left(client.num_left)


def test_there_are_enough_calls() -> None:
    """Sixty at least of OpenAI's own clients, and more of all others."""
    own = [client.min_cases for client in CLIENTS if client.name.startswith("openai-")]
    assert sum(own) >= 60
    assert sum(client.min_cases for client in CLIENTS) >= 100
