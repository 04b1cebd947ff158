"""Mutated requests of every rpc against a running front: each gets its answer or is refused."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tokenwire.generated.tokenwire.v1 import (
    access_pb2,
    chat_pb2,
    inference_pb2,
    sampling_pb2,
    tokenizer_pb2,
)
from tokenwire.generated.xds.service.orca.v3 import orca_pb2

from ..server.fronts import Client, check
from ..server.media.files import image_file
from ..server.scripted_engine import MODEL_ID
from .free_engine import free_service
from .fuzzing import Judge, fuzz, inside_of, num_cases
from .mutated_protobuf import mutate

# What a front that works may answer to a request that is wrong, or comes at a bad time.
_EXPECTED: Final = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.ABORTED,  # a resume that another resume of the same request took over
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_TIMEOUT_S: Final = 60.0
_MAX_READ: Final = 2000
# Streams that never end by themselves: their first answer is enough.
_ENDLESS: Final = ("/Watch", "/StreamCoreMetrics")
_INFERENCE: Final = "/tokenwire.v1.InferenceService/"
_TOKENIZER: Final = "/tokenwire.v1.TokenizerService/"
_USER: Final = chat_pb2.Message(
    role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="two words")]
)


def _chat(**fields: Any) -> inference_pb2.ChatRequest:
    return inference_pb2.ChatRequest(model=MODEL_ID, messages=[_USER], **fields)


def _generate(**fields: Any) -> inference_pb2.GenerateRequest:
    return inference_pb2.GenerateRequest(model=MODEL_ID, **{"text": "two words", **fields})


_SAMPLING: Final = sampling_pb2.Sampling(
    temperature=0.5, top_p=0.9, top_k=40, seed=7, max_tokens=8, stop=["5 "], n=2, logprobs=2,
    logit_bias={5: 1.5}, stop_token_ids=[9],
)  # fmt: skip
_TOOL: Final = chat_pb2.Tool(
    name="look", description="looks", parameters_schema='{"type": "object", "properties": {}}'
)
_CALL: Final = chat_pb2.ToolCall(id="c1", name="look", arguments='{"a": 1}')
_ASKED: Final = chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, tool_calls=[_CALL])
_TOLD: Final = chat_pb2.Message(
    role=chat_pb2.ROLE_TOOL, tool_call_id="c1", content=[chat_pb2.ContentPart(text="seen")]
)
_BEGUN: Final = chat_pb2.Message(
    role=chat_pb2.ROLE_ASSISTANT, content=[chat_pb2.ContentPart(text="It is")]
)
_SEEN: Final = chat_pb2.Message(
    role=chat_pb2.ROLE_USER,
    content=[
        chat_pb2.ContentPart(image=chat_pb2.Image(data=image_file())),
        chat_pb2.ContentPart(image=chat_pb2.Image(url="data:image/png;base64,iVBORw0K")),
        chat_pb2.ContentPart(text="what is it?"),
    ],
)
_REQUESTS: Final[tuple[tuple[str, Message], ...]] = (
    (f"{_INFERENCE}Chat", _chat()),
    (f"{_INFERENCE}Chat", _chat(sampling=_SAMPLING, progress=True, return_token_ids=True)),
    (
        f"{_INFERENCE}Chat",
        _chat(tools=[_TOOL], tool_choice={"mode": 1}, reasoning={"hidden": True}),
    ),
    (f"{_INFERENCE}Chat", _chat(constraint={"regex": "[a-z]+"}, delivery=2, priority=5)),
    (f"{_INFERENCE}Chat", _chat(template_arguments={"values": {"a": [1, {"b": None}]}})),
    (f"{_INFERENCE}Chat", _chat(detach_timeout={"seconds": 1}, time_limit={"seconds": 20})),
    (f"{_INFERENCE}Chat", _chat(detach_timeout={"seconds": 1}, progress=True, sampling=_SAMPLING)),
    (
        f"{_INFERENCE}Chat",
        inference_pb2.ChatRequest(
            resume={"request_id": "r3", "after_position": 1}, detach_timeout={"seconds": 1}
        ),
    ),
    (f"{_INFERENCE}Chat", inference_pb2.ChatRequest(model=MODEL_ID, resume={"request_id": "r5"})),
    (
        f"{_INFERENCE}Chat",
        inference_pb2.ChatRequest(
            model=MODEL_ID,
            messages=[_USER, _ASKED, _TOLD],
            tools=[_TOOL],
            tool_choice={"name": "look"},
            max_queue_wait={"seconds": 9},
            cache_salt="a",
        ),
    ),
    (f"{_INFERENCE}Chat", _chat(tools=[_TOOL], tool_choice={"mode": 3}, priority=-100)),
    (
        f"{_INFERENCE}Chat",
        inference_pb2.ChatRequest(
            model=MODEL_ID,
            messages=[_USER, _BEGUN],
            continue_last_message=True,
            reasoning={"enabled": False},
        ),
    ),
    (f"{_INFERENCE}Chat", inference_pb2.ChatRequest(model=MODEL_ID, messages=[_SEEN])),
    (f"{_INFERENCE}Chat", _chat(constraint={"ebnf": 'root ::= "a" | [b-d]{2,3}'})),
    (f"{_INFERENCE}Chat", _chat(constraint={"json_object": True}, lora_adapter="french")),
    (f"{_INFERENCE}Generate", _generate()),
    (f"{_INFERENCE}Generate", _generate(token_ids={"ids": [1, 2, 3]}, sampling=_SAMPLING)),
    (f"{_INFERENCE}Generate", _generate(suffix="end", max_queue_wait={"seconds": 9})),
    (f"{_INFERENCE}Generate", _generate(constraint={"choice": {"values": ["a", "b"]}})),
    (f"{_INFERENCE}Generate", _generate(constraint={"json_schema": '{"type": "string"}'})),
    (f"{_INFERENCE}Generate", _generate(resume={"request_id": "a", "after_position": 3})),
    (f"{_INFERENCE}Generate", _generate(detach_timeout={"seconds": 1}, delivery=2, priority=100)),
    (
        f"{_INFERENCE}Generate",
        inference_pb2.GenerateRequest(
            resume={"request_id": "r1", "after_position": 2}, progress=True
        ),
    ),
    (f"{_INFERENCE}Generate", _generate(as_instruction=True, return_token_ids=True)),
    (f"{_INFERENCE}ListModels", inference_pb2.ListModelsRequest()),
    (f"{_TOKENIZER}Tokenize", tokenizer_pb2.TokenizeRequest(model=MODEL_ID, text="ab")),
    (f"{_TOKENIZER}Detokenize", tokenizer_pb2.DetokenizeRequest(model=MODEL_ID, token_ids=[65])),
    (f"{_TOKENIZER}CountTokens", tokenizer_pb2.CountTokensRequest(chat=_chat())),
    (f"{_TOKENIZER}CountTokens", tokenizer_pb2.CountTokensRequest(generate=_generate())),
    ("/tokenwire.v1.AccessService/CheckAccess", access_pb2.CheckAccessRequest(resource=1)),
    ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service=MODEL_ID)),
    ("/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest()),
    ("/grpc.health.v1.Health/List", health_pb2.HealthListRequest()),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="tokenwire.v1.ChatRequest"),
    ),
    (
        "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics",
        orca_pb2.OrcaLoadReportRequest(request_cost_names=["a"]),
    ),
)
# Ids that requests with a `detach_timeout` are kept by, and taken up by others of this run.
_NUM_IDS: Final = 8
# Without `grpc-status`, which is a server's own: gRPC itself leaves such a call without an answer.
_METADATA: Final[tuple[tuple[str, str | bytes], ...]] = (
    ("traceparent", "00-x-y-z"), ("traceparent", "0" * 55), ("tracestate", "="),
    ("authorization", "Bearer"), ("authorization", "Basic !!!"), ("x-api-key", "tw_x"),
    ("x-request-id", "a" * 200), ("x-request-id", ""), ("x-odd-bin", b"\xff\x00"),
    ("grpc-tags-bin", b"\xff" * 30), ("x-forwarded-for", "1," * 500), ("accept-language", "a;q=x"),
    ("endpoint-load-metrics-bin", b"\xff"), ("grpc-message", "%ff%zz"),
    ("grpc-retry-pushback-ms", "-1"), ("grpc-previous-rpc-attempts", "x"),
)  # fmt: skip
_UNKNOWN: Final = ("/tokenwire.v1.InferenceService/Nothing", "/a.b/C", "/tokenwire.v1./", "/x")


def _make(random: Random) -> tuple[str, bytes]:
    if random.random() < 0.01:
        return random.choice(_UNKNOWN), random.randbytes(20)
    method, request = random.choice(_REQUESTS)
    return method, mutate(random, request)


def _problem_of(error: grpc.aio.AioRpcError, method: str) -> str:
    code, text = error.code(), error.details() or ""
    if method in _UNKNOWN:
        return "" if code is grpc.StatusCode.UNIMPLEMENTED else f"{code} for an unknown method"
    if code not in _EXPECTED:
        return f"{code}: {text}"
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(packed, bytes)
    details = status_pb2.Status.FromString(packed).details
    is_named = any(detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for detail in details)
    # gRPC itself refuses a message that is too large, before anyone could name a reason.
    if not is_named and method.startswith("/tokenwire.") and "larger than max" not in text:
        return f"{code} without a reason: {text}"
    return inside_of(text) or inside_of(packed.decode(errors="replace"))


def _metadata_for(data: bytes) -> tuple[tuple[str, str | bytes], ...]:
    """What goes with a request, always the same with the same one."""
    random = Random(data)
    named = ("x-request-id", f"r{random.randrange(_NUM_IDS)}")
    if random.random() < 0.9:
        return (named,)
    return tuple(random.choices(_METADATA, k=random.choice((1, 2, 5))))


def _judges(client: Client) -> Any:
    def judge_of(method: str) -> Judge:
        stub = client.channel.unary_stream(method)

        async def judge(data: bytes) -> str:
            call = stub(data, timeout=_TIMEOUT_S, metadata=_metadata_for(data))
            try:
                for _ in range(1 if method.endswith(_ENDLESS) else _MAX_READ):
                    if await call.read() is grpc.aio.EOF:
                        break
            except grpc.aio.AioRpcError as error:
                return _problem_of(error, method)
            finally:
                call.cancel()
            return ""

        return judge

    return judge_of


async def _fuzz(number: int) -> None:
    async with free_service() as service:
        client = service.front

        async def is_healthy() -> bool:
            return await check(client, "") == health_pb2.HealthCheckResponse.SERVING

        await fuzz(number, _make, _judges(client), is_healthy)
        await service.engine.wait_until(running=0)
        assert service.errors == []


async def test_mutated_requests() -> None:
    """A few hundred requests: the short form of what follows."""
    await _fuzz(400)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_many_mutated_requests() -> None:
    """100,000 requests are answered without INTERNAL or UNKNOWN, without a word of the inside."""
    await _fuzz(num_cases(100_000))
