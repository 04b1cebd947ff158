"""Reflection over a real socket, as tools ask for it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from ..fronts import Client, failure_of, scrape, start_front
from ..key_files import write_keys
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

V1, V1_ALPHA = (f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha"))
ACCESS = "tokenwire.v1.AccessService"
INFERENCE = "tokenwire.v1.InferenceService"
TOKENIZER = "tokenwire.v1.TokenizerService"
LOAD_REPORTS = "xds.service.orca.v3.OpenRcaService"


async def ask(client: Client, service: str, **question: Any) -> Any:
    """One question to a reflection service, by its raw name."""
    call = client.channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )([reflection_pb2.ServerReflectionRequest(**question)])
    return await call.read()


@pytest.mark.parametrize("service", [V1, V1_ALPHA])
async def test_both_versions_list_every_service(service: str) -> None:
    """Each version lists the services of the front, and both versions."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        answer = await ask(client, service, list_services="")
    names = {each.name for each in answer.list_services_response.service}
    services = {INFERENCE, TOKENIZER, ACCESS, LOAD_REPORTS, "grpc.health.v1.Health"}
    assert names == services | {V1, V1_ALPHA}


@pytest.mark.parametrize("service", [V1, V1_ALPHA])
@pytest.mark.parametrize("symbol", [INFERENCE, LOAD_REPORTS, "grpc.health.v1.Health", V1, V1_ALPHA])
async def test_every_listed_service_is_described(service: str, symbol: str) -> None:
    """A tool gets the file of each service that is listed, that of reflection itself included."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        answer = await ask(client, service, file_containing_symbol=symbol)
    first = answer.file_descriptor_response.file_descriptor_proto[0]
    described = FileDescriptorProto.FromString(first)
    assert symbol in {f"{described.package}.{each.name}" for each in described.service}


async def test_buf_curl_reads_it() -> None:
    """`buf curl` calls a method that it knows through reflection alone, and ends well."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "buf"), "curl", "--http2-prior-knowledge"),
            *("--protocol", "grpc", "--reflect-protocol", "grpc-v1", "--data", "{}"),
            f"http://127.0.0.1:{client.app.port}/{INFERENCE}/ListModels",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert [model["id"] for model in json.loads(output)["models"]] == [client.model]


@pytest.mark.parametrize(("header", "is_served"), [("--reflect-header", True), ("--header", False)])
async def test_buf_curl_lists_methods_with_a_key(
    tmp_path: Path, header: str, is_served: bool
) -> None:
    """Where keys are in force, `buf curl` sends one to reflection in headers of its own."""
    path = tmp_path / "keys.toml"
    text = write_keys(path, alice='calls = ["reflection"]')["alice"]
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(path)
    ) as client:
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "buf"), "curl", "--http2-prior-knowledge"),
            *("--protocol", "grpc", "--list-methods", header, f"x-api-key: {text}"),
            f"http://127.0.0.1:{client.app.port}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert (process.returncode == 0) == is_served, errors.decode()
    assert (f"{INFERENCE}/Chat" in output.decode()) == is_served


@pytest.mark.parametrize("service", [V1, V1_ALPHA])
async def test_bytes_that_are_no_message(service: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is no question is refused as by every method: by name, with an id, and counted."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        method = f"/{service}/ServerReflectionInfo"
        failure = await failure_of(client.channel.stream_stream(method)([b"\xff\xff"]))
        metrics = await scrape(client)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message == "request: is not a message of the method's type"
    assert failure.request_id
    assert not [record for record in caplog.records if record.name.startswith("grpc")]
    assert (
        'grpc_server_handled_total{grpc_code="InvalidArgument",'
        f'grpc_method="ServerReflectionInfo",grpc_service="{service}",grpc_type="bidi_stream"}} 1.0'
    ) in metrics


async def test_none_where_it_is_off() -> None:
    """LLM_GRPC_REFLECTION=false answers neither version."""
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_GRPC_REFLECTION="false"
    ) as client:
        for service in (V1, V1_ALPHA):
            call = client.channel.stream_stream(f"/{service}/ServerReflectionInfo")([b""])
            assert (await failure_of(call)).code.name == "UNIMPLEMENTED"
