"""What the edge asks about its callers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import access_pb2, access_pb2_grpc

from ..fronts import Client, failure_of, start_front
from ..key_files import write_keys
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

METRICS, SWAGGER = access_pb2.RESOURCE_METRICS, access_pb2.RESOURCE_SWAGGER
CALLS = access_pb2.RESOURCE_CALLS


def ask(client: Client, resource: int, text: str | None = None) -> Any:
    """Asks about a resource for a caller with a key, or with none."""
    stub: Any = access_pb2_grpc.AccessServiceStub(client.channel)
    metadata = () if text is None else (("x-api-key", text),)
    return stub.CheckAccess(access_pb2.CheckAccessRequest(resource=resource), metadata=metadata)


async def test_without_keys_everything_is_open() -> None:
    """Nobody needs a key where there is none."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        for resource in (METRICS, SWAGGER, CALLS):
            assert not (await ask(client, resource)).needs_key


async def test_with_keys_the_setting_decides(tmp_path: Path) -> None:
    """What is open needs none, also from who has a wrong one; the rest says who may."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, reader='calls = ["metrics"]', other='calls = ["Chat"]')
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(path)
    ) as client:
        assert (await ask(client, METRICS, texts["reader"])).needs_key
        assert not (await ask(client, SWAGGER, "wrong")).needs_key
        failure = await failure_of(ask(client, METRICS, texts["other"]))
        assert failure.message == "this key may not be used for metrics"
        assert (await failure_of(ask(client, METRICS))).code is grpc.StatusCode.UNAUTHENTICATED


async def test_every_key_in_force_is_good_for_calls(tmp_path: Path) -> None:
    """Also one that is for some calls only; none and a wrong one are not."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, reader='calls = ["metrics"]', late="expires = 2020-01-01T00:00:00Z")
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(path)
    ) as client:
        assert (await ask(client, CALLS, texts["reader"])).needs_key
        for text in (None, "wrong", texts["late"]):
            failure = await failure_of(ask(client, CALLS, text))
            assert failure.code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("resource", [0, 99])
async def test_what_is_nothing_is_refused(resource: int) -> None:
    """A resource must be named, and be one."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        failure = await failure_of(ask(client, resource))
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["resource"])
