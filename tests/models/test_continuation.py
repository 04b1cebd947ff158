"""Streams of SGLang go on when its processes are killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import defaultdict
from typing import Any, cast

import grpc
import pytest
from tokenwire.server.engines.sglang.front.engine import SglangEngine

from ..conftest import MODEL_ID
from ..server.fronts import collect
from ..system.restart import add_text
from ..system.services import start_service

HANG_S = 800
NUMBERS = "(one|two), ([0-9], ){12}9"


@pytest.mark.timeout(900)
async def test_streams_go_on_over_the_death_of_the_host() -> None:
    """Kill -9 of the host in mid-stream: one alone says what it says undisturbed, others go on too.

    What runs beside others is another sum of 16-bit numbers: greedy texts may turn at any token.
    """
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="sglang",
        LLM_DEVICE="cpu",
        LLM_MAX_MODEL_LEN="1024",
        LLM_MAX_CONCURRENT_REQUESTS="8",
    ) as service:
        client = service.client
        model = next(iter(client.app.models))

        def story(n: int = 1) -> Any:
            request = client.prompt("Once upon a time, in a small village by the sea,")
            request.sampling.max_tokens = 40
            request.sampling.ignore_eos = True
            request.sampling.n = n
            return request

        constrained = client.prompt("Numbers:", constraint={"regex": NUMBERS})
        constrained.sampling.max_tokens = 100

        async def kill_under(*requests: Any) -> tuple[list[dict[int, str]], list[Any]]:
            calls = [client.inference.Generate(request) for request in requests]
            texts = [defaultdict[int, str](str) for _ in calls]
            ends: list[Any] = []
            for call, text in zip(calls, texts, strict=True):
                while len(text[0]) < 20:
                    add_text(text, await call.read())
            os.kill(cast("SglangEngine", model.engine).pid, signal.SIGKILL)
            for call, text in zip(calls, texts, strict=True):
                while (event := await call.read()) is not grpc.aio.EOF:
                    add_text(text, event)
                    ends += [event.finished] if event.HasField("finished") else []
            return [dict(text) for text in texts], ends

        async with asyncio.timeout(HANG_S):
            undisturbed = await collect(client.inference.Generate(story()))
            [alone], _ = await kill_under(story())
            assert alone == {0: undisturbed.text}
            [pair, numbers], ends = await kill_under(story(2), constrained)
        assert len(pair) == 2
        assert ends[0].usage.num_completion_tokens == 80
        assert re.fullmatch(NUMBERS, numbers[0])
        assert model.keeper.num_restarts == 2
