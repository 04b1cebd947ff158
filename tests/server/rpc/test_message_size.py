"""How large messages become for readers that lag, with a client's own limit in force."""

from __future__ import annotations

import grpc
from tokenwire.generated.tokenwire.v1 import inference_pb2, tokenizer_pb2
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)
from tokenwire.server.settings.fixed_limits import MAX_METADATA_BYTES

from ..fronts import failure_of, start_front
from ..scripted_engine import ScriptedEngine, ScriptedLauncher
from .test_sender_events import read

NUM_DELTAS = 140
DELTA_BYTES = 100_000


async def test_backlog_fits_into_the_messages_that_clients_take() -> None:
    """Who comes late to 14 MB gets all of it, in messages of less than gRPC's 4 MiB.

    About 6 MB are on their way before a reader that reads nothing keeps the server from writing.
    """
    engine = ScriptedEngine(
        context_length=2 * NUM_DELTAS,
        script=[
            Started(0),
            *(TextDelta("x" * DELTA_BYTES, 1, (number % 100,)) for number in range(NUM_DELTAS)),
            ChoiceFinished(FinishReason.EOS),
            Finished(NUM_DELTAS, 0),
        ],
    )
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        call = client.inference.Generate(client.prompt("go", return_token_ids=True))
        engine.allow(2 * NUM_DELTAS)
        assert (await call.read()).HasField("started")
        await engine.wait_until(running=0)
        ids: list[int] = []
        has_ended = False
        num_joined = 0
        for response in await read(call):
            if not response.HasField("deltas"):
                continue
            for delta in response.deltas.deltas:
                ids += delta.text.token_ids
                has_ended = has_ended or delta.HasField("finished")
                num_joined += len(delta.text.token_ids) > 1
            assert response.position == len(ids) + has_ended
    assert ids == [number % 100 for number in range(NUM_DELTAS)]
    assert has_ended
    assert num_joined  # otherwise no reader was late


async def test_request_at_its_limit_and_above() -> None:
    """A message of the limit is read, one of a byte more refused; the call after works."""
    limit = 4096
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_MAX_MESSAGE_BYTES=str(limit)
    ) as client:
        tokenize = client.channel.unary_unary("/tokenwire.v1.TokenizerService/Tokenize")
        request = tokenizer_pb2.TokenizeRequest(model=client.model)
        request.text = "x" * (limit - request.ByteSize() - 3)  # tag, and two bytes of its length
        assert request.ByteSize() == limit
        await tokenize(request.SerializeToString())
        request.text += "x"
        failure = await failure_of(tokenize(request.SerializeToString()))
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        request.text = "x"
        await tokenize(request.SerializeToString())


async def test_metadata_above_its_limit() -> None:
    """More metadata than the limit is refused, and nothing else on the connection is hurt.

    What else a call sends, and 32 bytes for each entry (RFC 9113, 6.5.2), count as well.
    """
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        stub = client.inference.ListModels
        request = inference_pb2.ListModelsRequest()
        taken, refused = MAX_METADATA_BYTES // 2, MAX_METADATA_BYTES
        await stub(request, metadata=(("x", "y" * taken),))
        while refused - taken > 1:
            number = (taken + refused) // 2
            try:
                await stub(request, metadata=(("x", "y" * number),))
                taken = number
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
                refused = number
        assert MAX_METADATA_BYTES - 1024 < taken < MAX_METADATA_BYTES
        await stub(request)
