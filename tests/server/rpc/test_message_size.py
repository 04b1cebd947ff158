"""How large messages become for readers that lag, with a client's own limit in force."""

from __future__ import annotations

import grpc
from tokenwire.generated.tokenwire.v1 import inference_pb2_grpc
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    TokenLogprob,
    TopLogprob,
)

from ..fronts import start_front
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

NUM_TOKENS = 3_000


def likely(token_id: int) -> TextDelta:
    """A token of 8 letters with the 20 likeliest ones: 500 bytes on the wire."""
    top = tuple(TopLogprob(place, -1.0, b"somebody") for place in range(20))
    return TextDelta("somebody", 1, (token_id,), (TokenLogprob(token_id, -1.0, b"somebody", top),))


async def test_backlog_of_logprobs_fits_into_messages() -> None:
    """A reader that comes late to log-probabilities of many tokens gets all, in messages that fit.

    In one they would have 1.5 MB: the client takes 1 MiB here, so that the test need not be larger.
    """
    engine = ScriptedEngine(
        context_length=2 * NUM_TOKENS,
        script=[
            Started(0),
            *map(likely, range(NUM_TOKENS)),
            ChoiceFinished(FinishReason.EOS),
            Finished(NUM_TOKENS, 0),
        ],
    )
    async with (
        start_front(ScriptedLauncher(engine).prepare) as client,
        grpc.aio.insecure_channel(
            f"127.0.0.1:{client.app.port}", options=[("grpc.max_receive_message_length", 1 << 20)]
        ) as channel,
    ):
        request = client.prompt("go", return_token_ids=True)
        request.sampling.logprobs = 20
        engine.allow(NUM_TOKENS)
        ids: list[int] = []
        position = 0
        async for response in inference_pb2_grpc.InferenceServiceStub(channel).Generate(request):
            for delta in response.deltas.deltas:
                ids += delta.text.token_ids
                assert len(delta.text.logprobs) == len(delta.text.token_ids)
            if response.HasField("deltas"):
                position = response.position
                assert len(ids) in (position, position - 1)  # the end counts, too
    assert ids == list(range(NUM_TOKENS))
    assert position == NUM_TOKENS + 1
