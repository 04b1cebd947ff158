"""What answers hold, and the models' own description."""

from __future__ import annotations

import pytest
from tokenwire.edge.api.json_codec import encode_model
from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)

from ..surroundings import MODEL_ID
from .real_service import ALTERNATING, DEFAULT_MAX_TOKENS, RealService
from .stage import CHAT, PROMPT, Stage


async def test_finish_reasons(service: RealService) -> None:
    """The real model ends by itself, at a stop string, or where the tokens are used up.

    > `finish_reason` is `stop` for a stop string, `eos` where the model ended and `length` for
    > `max_tokens`.
    """
    question = [{"role": "user", "content": "What is the capital of France?"}]
    chat = {"model": MODEL_ID, "messages": question}
    whole = await service.post("/api/chat", chat)
    assert (whole["finish_reason"], whole["message"]["content"]) == (
        "eos",
        "The capital of France is Paris.",
    )
    cut = await service.post("/api/chat", {**chat, "stop": [" Paris"]})
    assert (cut["finish_reason"], cut["message"]["content"]) == ("stop", "The capital of France is")
    short = await service.post("/api/chat", {**chat, "max_tokens": 2})
    assert (short["finish_reason"], short["tokens_generated"]) == ("length", 2)
    prompt = {"model": MODEL_ID, "prompt": "One, two, three,"}
    by_default = await service.post("/api/completions", prompt)
    assert by_default["tokens_generated"] == DEFAULT_MAX_TOKENS


async def test_the_reason_is_the_same_on_every_route(stage: Stage) -> None:
    """Whatever the engine says is told by each route and in the last event of each stream."""
    stage.engine.allow(100)
    for reason in ("stop", "eos", "length"):
        ended = ChoiceFinished(FinishReason[reason.upper()])
        stage.engine.script = [Started(0), TextDelta("a", 1, (1,)), ended, Finished(1, 0)]
        for path, body in (
            ("/api/generate", PROMPT),
            ("/api/chat", CHAT),
            ("/api/completions", PROMPT),
        ):
            assert (await stage.post(path, body))["finish_reason"] == reason
            async with stage.http.post(f"{path}/stream", json=body) as response:
                assert f'"finish_reason":"{reason}"' in await response.text()


async def test_failures_are_no_finish_reason(stage: Stage) -> None:
    """An engine that fails gives no answer at all.

    > Failures are answered as errors.
    """
    stage.engine.failure = GenerationFailed("it did not work")
    body = await stage.post("/api/chat", CHAT, 500)
    assert set(body) == {"error", "code"}


async def test_model_objects(service: RealService) -> None:
    """Two models as they are listed.

    > A model object has `id`, `name`, `description`, `capabilities` and, where it is known, `size`.

    > `name` is the last path part of the id, with `-` and `_` turned to spaces.

    > `capabilities` holds `text-generation`, and `chat` where the model can chat.
    """
    both = ["text-generation", "chat"]
    assert await service.get("/api/llms") == [
        {
            "id": MODEL_ID,
            "name": "SmolLM2 135M Instruct",
            "description": f"LLM model: {MODEL_ID} (GGUF quantized)",
            "size": "135M",
            "capabilities": both,
        },
        {
            "id": ALTERNATING,
            "name": "Alternating 135M Chat GGUF:alternating 135m.gguf",
            "description": f"LLM model: {ALTERNATING} (GGUF quantized)",
            "size": "135M",
            "capabilities": both,
        },
    ]
    assert encode_model(models_pb2.Model(id="a/b"))["capabilities"] == both[:1]


@pytest.mark.parametrize(
    ("model_id", "description"),
    [
        ("owner/Some-7B-GGUF:some_7b.Q4_K_M.gguf", " (GGUF quantized)"),
        ("owner/Some-7B-GPTQ", " (GPTQ quantized)"),
        ("owner/Some-7B", ""),
    ],
)
def test_descriptions(model_id: str, description: str) -> None:
    """As the files of the model are.

    > `description` is `LLM model: <id>`, followed by ` (GGUF quantized)` or ` (GPTQ quantized)`
    > where that is so.
    """
    model = encode_model(models_pb2.Model(id=model_id))
    assert model["description"] == f"LLM model: {model_id}{description}"


@pytest.mark.parametrize(
    ("model_id", "num_parameters", "size"),
    [
        ("owner/Some-7B", 0, "7B"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 0, "1.1B"),
        ("owner/Some-7B", 7_600_000_000, "7.6B"),
        ("owner/Some", 134_515_008, "135M"),
        ("owner/Some", 0, None),
    ],
)
def test_sizes(model_id: str, num_parameters: int, size: str | None) -> None:
    """Two ways to know it, or none.

    > `size` is the number of parameters, such as `7B` or `1.1B`: the model's own, else as the id
    > says.
    """
    model = encode_model(models_pb2.Model(id=model_id, num_parameters=num_parameters))
    assert model.get("size") == size
