"""The service with SGLang behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from tokenwire.server.engines.sglang.front.engine import SglangEngine

from ..conftest import MODEL_ID
from ..server.fronts import Client
from .acceptance import Acceptance
from .services import Handover, Service, start_service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(sglang_engine: SglangEngine) -> AsyncIterator[Service]:
    """A service around the one SGLang of the test run."""
    async with start_service(
        Handover(sglang_engine).prepare,
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_MAX_CONCURRENT_REQUESTS="16",
    ) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Client:
    return service.client


@pytest.fixture
def http(service: Service) -> aiohttp.ClientSession:
    return service.http


class TestSglangService(Acceptance):
    """SGLang serves everything that the service promises."""
