"""What callers get of what every engine says, streamed and as one message."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import Finished
from tokenwire.server.contract.prompts import TextPrompt

from ..fronts import start_front
from ..rpc.test_sender_events import deltas_of, joined, read
from ..scripted_engine import ScriptedEngine, ScriptedLauncher
from .generation import RANDOM, Contract, answer

PROMPTS = (
    ("Once upon a time, in a small village by the sea,", (" the", ", and")),
    ("漢字漢字漢字漢字漢", ("字漢", "。")),
    ("👩‍👩‍👧🇫🇷👩‍👩‍👧🇫🇷👩‍👩‍👧", ("\u200d👧", "🇫")),
    ("e\u0301a\u0308e\u0301a\u0308e\u0301", ("\u0308",)),
)


class DeliveryContract(Contract):
    """What callers get of what every engine says, streamed and as one message."""

    @pytest.mark.parametrize("seed", range(4))
    async def test_streamed_equals_final(self, engine: Engine, seed: int) -> None:
        """Three choices with log-probabilities come to the same, however they are sent.

        One generation is told to both: two need not say the same where no seed is honoured.
        """
        text, stop = PROMPTS[seed]
        params = replace(RANDOM, n=3, max_tokens=16, logprobs=2, seed=seed, stop=stop)
        events = (await answer(engine, TextPrompt(text), params)).events
        scripted = ScriptedEngine(script=events)
        scripted.allow(2 * len(events))
        async with start_front(ScriptedLauncher(scripted).prepare) as client:
            request = client.prompt("go", return_token_ids=True)
            request.sampling.n = 3
            request.sampling.logprobs = 2
            streamed = await read(client.inference.Generate(request))
            request.delivery = events_pb2.DELIVERY_FINAL
            (final,) = await read(client.inference.Generate(request))
        choices = list(final.finished.choices)
        assert choices == joined(deltas_of(streamed))
        assert [choice.choice for choice in choices] == [0, 1, 2]
        assert final.finished.usage == streamed[-1].finished.usage
        (end,) = (event for event in events if isinstance(event, Finished))
        assert final.finished.usage.num_completion_tokens == end.num_completion_tokens
        for choice in choices:
            told = b"".join(logprob.text for logprob in choice.logprobs)
            if "\ufffd" not in choice.text:  # it stands for bytes that are no character
                # A token may go on where a stop string begins, or the last character is cut off.
                assert told.startswith(choice.text.encode())
