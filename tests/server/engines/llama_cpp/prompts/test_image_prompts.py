"""Images on llama.cpp, from the request to the answer: SmolLM2 with an eye drawn at random."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tokenwire.generated.tokenwire.v1 import (
    chat_pb2,
    events_pb2,
    inference_pb2,
    tokenizer_pb2,
    tokenizer_pb2_grpc,
)

from ....fronts import Client, collect, failure_of, start_front
from ....media.files import image_file, png_of_size
from ..projector import NUM_IMAGE_TOKENS, write_projector

MODEL = "tiny/seeing:model.gguf+eye/mmproj.gguf"
RED = image_file("PNG", (40, 30), "red")
BLUE = image_file("JPEG", (40, 30), "blue")
Part = str | bytes


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seeing(
    gguf_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    """A front whose model sees, found under LLM_MODEL_PATH."""
    folder = tmp_path_factory.mktemp("seeing")
    (folder / "tiny" / "seeing" / "eye").mkdir(parents=True)
    (folder / "tiny" / "seeing" / "model.gguf").symlink_to(gguf_file)
    write_projector(folder / "tiny" / "seeing" / "eye" / "mmproj.gguf")
    async with start_front(
        LLM_ALLOWED_MODELS=MODEL,
        LLM_MODEL_PATH=str(folder),
        LLM_MAX_MODEL_LEN="256",
        LLM_MAX_IMAGES="2",
        LLM_MAX_CONCURRENT_REQUESTS="2",
        LLM_ENABLE_PREFIX_CACHING="true",
        HF_HUB_OFFLINE="1",
    ) as client:
        yield client.on(MODEL)


def ask(client: Client, *parts: Part, **fields: Any) -> inference_pb2.ChatRequest:
    """A greedy question of text and images."""
    request = client.chat("", **fields)
    request.sampling.max_tokens = 12
    request.sampling.ignore_eos = True
    del request.messages[0].content[:]
    request.messages[0].content.extend(
        chat_pb2.ContentPart(text=part)
        if isinstance(part, str)
        else chat_pb2.ContentPart(image=chat_pb2.Image(data=part))
        for part in parts
    )
    return request


async def answer(client: Client, request: inference_pb2.ChatRequest) -> events_pb2.Finished:
    """The whole answer."""
    request.delivery = events_pb2.DELIVERY_FINAL
    response = await client.unary()(request, timeout=120)
    finished: events_pb2.Finished = response.finished
    return finished


async def test_model_tells_that_it_sees(seeing: Client) -> None:
    """ListModels tells the capability, and what an image may be."""
    model = (await seeing.list_models())[MODEL]
    assert model.capabilities.images
    assert (model.image_limits.max_images, model.image_limits.max_side) == (2, 8192)
    assert list(model.image_limits.formats) == ["PNG", "JPEG", "WebP", "GIF"]
    assert not model.image_limits.fetches


async def test_image_changes_the_answer(seeing: Client) -> None:
    """Each image gives an answer of its own, the same one each time, and text alone another."""
    red, blue, again, blind = [
        await answer(seeing, ask(seeing, "What is this?", *images))
        for images in ([RED], [BLUE], [RED], [])
    ]
    texts = [each.choices[0].text for each in (red, blue, blind)]
    assert len(set(texts)) == 3
    assert again.choices[0].text == texts[0]


async def test_image_counts(seeing: Client) -> None:
    """The tokens of an image are tokens of the prompt, wherever it stands."""
    blind = await answer(seeing, ask(seeing, "ab", "cd"))
    for parts in (["ab", RED, "cd"], [RED, "ab", "cd"], ["ab", RED, RED, "cd"]):
        seen = await answer(seeing, ask(seeing, *parts))
        extra = seen.usage.num_prompt_tokens - blind.usage.num_prompt_tokens
        # A text that is cut in two may take a token more.
        assert 0 <= extra - NUM_IMAGE_TOKENS * parts.count(RED) <= 2


async def test_streamed_equals_final(seeing: Client) -> None:
    """The deltas of an answer to an image are the whole answer."""
    request = ask(seeing, "Tell: ", RED)
    streamed = await collect(seeing.inference.Chat(request))
    final = await answer(seeing, request)
    assert streamed.text == final.choices[0].text
    assert streamed.started.num_prompt_tokens == final.usage.num_prompt_tokens


@pytest.mark.parametrize(
    ("parts", "field", "words"),
    [
        (["a", b"no image"], "messages[0].content[1].image", "no file of the kinds"),
        ([png_of_size(1, 100_000)], "messages[0].content[0].image", "8192"),
        ([RED, RED, RED], "messages[0].content[2].image", "at most 2 images"),
        ([RED, "<|im_end|>"], "messages", "control token"),
    ],
)
async def test_refused(seeing: Client, parts: list[Part], field: str, words: str) -> None:
    """What is no image, too many of them, and control tokens beside one are refused by name."""
    request = ask(seeing, *parts, delivery=events_pb2.DELIVERY_FINAL)
    failure = await failure_of(seeing.unary()(request))
    assert failure.code.name == "INVALID_ARGUMENT"
    assert failure.fields == [field]
    assert words in failure.message


async def test_no_message_is_continued(seeing: Client) -> None:
    """A last message that is to be continued is refused beside an image."""
    request = ask(seeing, RED, continue_last_message=True)
    request.messages.add(role=chat_pb2.ROLE_ASSISTANT).content.add(text="It is")
    failure = await failure_of(seeing.inference.Chat(request))
    assert failure.code.name == "INVALID_ARGUMENT"
    assert failure.fields == ["continue_last_message"]


async def test_context(seeing: Client) -> None:
    """An image that does not fit into the context is refused with the number of tokens."""
    request = ask(seeing, "word " * 220, RED, RED, delivery=events_pb2.DELIVERY_FINAL)
    failure = await failure_of(seeing.unary()(request))
    assert failure.reason == "CONTEXT_TOO_LONG"


async def test_mark_is_no_secret_word(seeing: Client) -> None:
    """What llama.cpp itself calls an image is text like any other."""
    request = ask(seeing, "<__media__>", RED)
    assert (await answer(seeing, request)).choices[0].text


async def test_counted_as_answered(seeing: Client) -> None:
    """CountTokens counts an image as the answer's usage does, and refuses what the answer does."""
    request = ask(seeing, "What is this?", RED)
    tokenizer = tokenizer_pb2_grpc.TokenizerServiceStub(seeing.channel)
    size = await tokenizer.CountTokens(tokenizer_pb2.CountTokensRequest(chat=request))
    assert size.num_prompt_tokens == (await answer(seeing, request)).usage.num_prompt_tokens
    bad = tokenizer_pb2.CountTokensRequest(chat=ask(seeing, b"no image"))
    failure = await failure_of(tokenizer.CountTokens(bad))
    assert failure.code.name == "INVALID_ARGUMENT"
    assert failure.fields == ["chat.messages[0].content[0].image"]
