"""The Python client and the real service, on llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tokenwire.client import (
    AsyncClient,
    Client,
    FinishReason,
    InvalidRequest,
    TextDelta,
    UnknownModel,
    assistant,
    system,
    user,
)

from ..server.fronts import Client as Front
from ..server.fronts import start_front
from ..surroundings import MODEL_ID

GUARD_S = 120
QUESTION = "What is the capital of France?"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def front() -> AsyncIterator[Front]:
    """A front that serves the small model in two slots."""
    async with start_front(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="llamacpp",
        LLM_DEVICE="cpu",
        LLM_MAX_CONCURRENT_REQUESTS="2",
    ) as client:
        yield client


def target(front: Front) -> str:
    return f"127.0.0.1:{front.app.port}"


async def test_threads(front: Front) -> None:
    """The blocking client: a chat as events and as an answer, a count, tokens and back."""

    def talk() -> None:
        with Client(target(front), model=MODEL_ID) as client:
            history = [system("You are a helpful assistant."), user(QUESTION)]
            answer = client.chat(history, temperature=0).answer()
            assert answer.text == "The capital of France is Paris."
            assert answer.finish_reason is FinishReason.EOS
            events = list(client.chat(history, temperature=0))
            streamed = "".join(event.text for event in events if isinstance(event, TextDelta))
            assert streamed == answer.text
            counted = client.count_tokens(history)
            assert counted.num_prompt_tokens == answer.usage.num_prompt_tokens
            assert counted.num_prompt_tokens == answer.started.num_prompt_tokens
            history += [assistant(answer.text), user("And of Italy?")]
            assert client.count_tokens(history).num_prompt_tokens > counted.num_prompt_tokens
            ids = client.tokenize(QUESTION).token_ids
            assert client.detokenize(ids).text == QUESTION
            (model,) = client.list_models()
            assert model.capabilities.chat

    async with asyncio.timeout(GUARD_S):
        await asyncio.to_thread(talk)


async def test_tasks(front: Front) -> None:
    """The asynchronous client: streams beside each other, and what is refused."""
    async with asyncio.timeout(GUARD_S), AsyncClient(target(front), model=MODEL_ID) as client:
        answers = await asyncio.gather(
            *(client.generate("One, two,", temperature=0, max_tokens=4).answer() for _ in range(4))
        )
        assert len({answer.text for answer in answers}) == 1
        assert {answer.finish_reason for answer in answers} == {FinishReason.LENGTH}
        with pytest.raises(InvalidRequest) as caught:
            await client.chat(QUESTION, temperature=3).answer()
        assert [each.field for each in caught.value.violations] == ["sampling.temperature"]
        with pytest.raises(UnknownModel):
            await client.count_tokens(QUESTION, model="nobody/knows")


async def test_leaving_frees_the_slot(front: Front) -> None:
    """Streams that are left in the middle are aborted: as many as there are slots, then more."""
    async with asyncio.timeout(GUARD_S), AsyncClient(target(front), model=MODEL_ID) as client:
        for _ in range(4):
            async with client.generate("Once", ignore_eos=True, max_tokens=4000) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        break
        answer = await client.generate("Once", max_tokens=1, max_queue_wait=60).answer()
    assert answer.usage.num_completion_tokens == 1
