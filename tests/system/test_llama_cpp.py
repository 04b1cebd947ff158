"""The service with llama.cpp behind it, from the model's id on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from ..conftest import MODEL_ID
from ..server.fronts import Client
from .acceptance import Acceptance
from .services import Service, start_service


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service() -> AsyncIterator[Service]:
    """A service that finds the built-in model, and chooses and starts its engine, by itself."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="llamacpp",
        LLM_ENABLE_PREFIX_CACHING="true",
        LLM_MAX_CONCURRENT_REQUESTS="16",
        LLM_MAX_MODEL_LEN="1024",
    ) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Client:
    return service.client


@pytest.fixture
def http(service: Service) -> aiohttp.ClientSession:
    return service.http


class TestLlamaCppService(Acceptance):
    """llama.cpp serves everything that the service promises."""
