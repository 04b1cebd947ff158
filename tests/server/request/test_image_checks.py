"""A call with images on a model that sees none."""

from __future__ import annotations

from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, tokenizer_pb2, tokenizer_pb2_grpc

from ..fronts import failure_of, start_front
from ..media.files import image_file
from ..scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher


async def test_refused_by_field_and_capability() -> None:
    """Images are named, 16 at most, and the capability that the model lacks."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("What is this?", delivery=events_pb2.DELIVERY_FINAL)
        for data in (image_file(), *[b"no image"] * 20):
            part = chat_pb2.ContentPart(image=chat_pb2.Image(data=data))
            request.messages[0].content.append(part)
        failure = await failure_of(client.unary()(request))
        tokenizer = tokenizer_pb2_grpc.TokenizerServiceStub(client.channel)
        uncounted = await failure_of(
            tokenizer.CountTokens(tokenizer_pb2.CountTokensRequest(chat=request))
        )
        models = await client.list_models()
    assert failure.code.name == "INVALID_ARGUMENT"
    assert failure.fields == [f"messages[0].content[{index}].image" for index in range(1, 17)]
    assert "capability `images`" in failure.message
    assert uncounted.fields == [f"chat.{field}" for field in failure.fields]
    assert engine.prompts == []
    assert not models[MODEL_ID].HasField("image_limits")
