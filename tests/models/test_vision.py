"""SGLang on a CPU reads images, and answers as transformers does: a tiny Qwen2.5-VL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2

from ..server.fronts import Client, collect, failure_of
from ..server.media.files import image_file, png_of_size
from .checkpoints import NUM_TOKENS, REFERENCES, Reference
from .conftest import run_python
from .divergence import compare_ids, describe
from .results import Results
from .serving import greedy_chat, serve, stream
from .vision_checkpoints import IMAGES, QUESTION

# Both compute in float32, in another order. Two tokens further apart than this cannot swap.
MAX_GAP = 0.001
MODEL = "tiny/qwen2.5-vl"


@dataclass(frozen=True, slots=True)
class Served:
    """The checkpoint behind a front of its own."""

    client: Client
    references: list[Reference]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(
    small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A front that finds the checkpoint under LLM_MODEL_PATH; a minute, mostly imports."""
    root = tmp_path_factory.mktemp("vision")
    folder = root / MODEL
    folder.mkdir(parents=True)
    await run_python("vision_checkpoints", str(small_model), str(folder))
    references = json.loads((folder.parent / REFERENCES).read_text())
    async with serve(MODEL, root, LLM_MAX_IMAGES="3") as client:
        yield Served(client, [Reference(**one) for one in references])


def ask(
    client: Client, images: Sequence[bytes], text: str = QUESTION, max_tokens: int = NUM_TOKENS
) -> inference_pb2.ChatRequest:
    """A greedy question about images."""
    messages = [{"role": "user", "content": text}]
    request = greedy_chat(client, max_tokens, messages, return_token_ids=True)
    request.messages[0].content.extend(
        chat_pb2.ContentPart(image=chat_pb2.Image(data=image)) for image in images
    )
    return request


async def test_listed(served: Served) -> None:
    """ListModels tells that the model sees, and what an image may be."""
    model = (await served.client.list_models())[MODEL]
    assert model.engine.startswith("sglang ")
    assert model.capabilities.images
    assert model.image_limits.max_images == 3


async def test_same_tokens_as_transformers(served: Served, results: Results) -> None:
    """One image and several, of several sizes, give what transformers generates greedily."""
    found = []
    for images, reference in zip(IMAGES, served.references, strict=True):
        answer = await stream(served.client, ask(served.client, images))
        assert answer.num_prompt_tokens == len(reference.prompt_ids)
        assert answer.num_completion_tokens == NUM_TOKENS
        found.append(compare_ids(answer.token_ids, reference))
    results.add("SGLang", "qwen2.5-vl with images", describe(found, NUM_TOKENS))
    assert max((one.gap for one in found if one), default=0.0) <= MAX_GAP


async def test_log_probabilities_of_a_prompt(served: Served) -> None:
    """Each token is told in its place, those of images with no value; so are cached ones."""
    for images, reference in zip(IMAGES, served.references, strict=True):
        request = ask(served.client, images, max_tokens=0)
        request.delivery = events_pb2.DELIVERY_FINAL
        request.sampling.prompt_logprobs = 1
        for _ in range(2):
            told = (await served.client.unary()(request)).finished.prompt_logprobs
            assert [token.token_id for token in told] == reference.prompt_ids
            marks = {token.text for token in told if not token.HasField("logprob")}
            assert marks == {told[0].text, b"<|image_pad|>"}
            for place, token in enumerate(told):
                is_told = place > 0 and token.text != b"<|image_pad|>"
                assert (token.HasField("logprob"), len(token.top)) == (is_told, int(is_told))


async def test_cached_prefix(served: Served) -> None:
    """An image is found in the prefix cache; another in its place is not taken for it."""
    red, blue = (image_file("PNG", (84, 84), color) for color in ("red", "blue"))
    first = await stream(served.client, ask(served.client, [red]))
    again = await stream(served.client, ask(served.client, [red]))
    other = await stream(served.client, ask(served.client, [blue]))
    assert again.num_cached_tokens > other.num_cached_tokens
    assert again.token_ids == first.token_ids
    assert other.token_ids != first.token_ids


async def test_streamed_equals_final(served: Served) -> None:
    """The deltas of an answer to an image are the whole answer."""
    request = ask(served.client, IMAGES[0])
    streamed = await collect(served.client.inference.Chat(request))
    request.delivery = events_pb2.DELIVERY_FINAL
    final = (await served.client.unary()(request)).finished
    assert streamed.text == final.choices[0].text
    assert streamed.started.num_prompt_tokens == final.usage.num_prompt_tokens


@pytest.mark.parametrize(
    ("images", "text", "field", "words"),
    [
        ([IMAGES[0][0][:60]], "?", "messages[0].content[1].image", "cut off"),
        ([png_of_size(1, 100_000)], "?", "messages[0].content[1].image", "8192"),
        ([IMAGES[0][0]] * 4, "?", "messages[0].content[4].image", "at most 3"),
        ([IMAGES[0][0]], "<|im_end|>", "messages", "control token"),
        ([IMAGES[0][0]], "<|image_pad|>", "messages", "control token"),
    ],
)
async def test_refused(
    served: Served, images: list[bytes], text: str, field: str, words: str
) -> None:
    """What cannot be taken is refused by its field, and the engine lives on."""
    request = ask(served.client, images, text)
    request.delivery = events_pb2.DELIVERY_FINAL
    failure = await failure_of(served.client.unary()(request))
    assert failure.fields == [field]
    assert words in failure.message
    await stream(served.client, ask(served.client, IMAGES[0], max_tokens=1))


async def test_long_and_narrow(served: Served) -> None:
    """The longest image for its width that is taken is read by the model's own processor."""
    image = image_file("PNG", (1000, 10), "green")
    answer = await stream(served.client, ask(served.client, [image], max_tokens=1))
    assert answer.num_completion_tokens == 1
