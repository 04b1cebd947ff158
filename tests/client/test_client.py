"""Calls of the client: what they send, and how they fail."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.client import (
    Client,
    DeadlineExceeded,
    FieldViolation,
    InvalidRequest,
    ModelLoadFailed,
    PermissionDenied,
    QuotaExceeded,
    RetryPolicy,
    ServerError,
    TokenwireError,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    assistant,
    system,
    tool_result,
    user,
)
from tokenwire.generated.tokenwire.v1 import (
    chat_pb2,
    inference_pb2,
    models_pb2,
    sampling_pb2,
    tokenizer_pb2,
)

from .answering import GUARD_S, answering
from .answers import HELLO, failing

CODE = grpc.StatusCode


def sent(rpc: str, ask: Any, **options: Any) -> tuple[Any, dict[str, str]]:
    """The request and the metadata of a stream that `ask` makes of a client."""
    with answering() as service:
        answer = service.do(ask(service.client(**options)).answer)
        call = service.take(rpc)
        call.end(*HELLO)
        answer.result(GUARD_S)
    return call.request, call.metadata


def test_chat_is_the_request() -> None:
    """Messages, tools and fields stand where the proto has them; None is left out."""
    history = [
        system("Be brief."),
        user("Hi"),
        assistant("", [chat_pb2.ToolCall(id="c", name="f")]),
        tool_result("c", "1"),
    ]
    tool = chat_pb2.Tool(name="f")
    request, _ = sent(
        "Chat",
        lambda client: client.chat(
            history,
            tools=[tool],
            temperature=0,
            stop=["."],
            seed=None,
            time_limit=1.5,
            cache_salt="s",
        ),
    )
    assert request == inference_pb2.ChatRequest(
        model="m",
        messages=history,
        tools=[tool],
        cache_salt="s",
        time_limit=Duration(seconds=1, nanos=500_000_000),
        sampling=sampling_pb2.Sampling(temperature=0, stop=["."]),
    )
    assert request.messages[2].tool_calls[0].id == "c"
    assert not request.messages[2].content


def test_generate_is_the_request() -> None:
    """A prompt is text or token ids, for the model of the call."""
    request, _ = sent("Generate", lambda client: client.generate("Once", model="x", suffix="."))
    assert request == inference_pb2.GenerateRequest(
        model="x", text="Once", suffix=".", sampling=sampling_pb2.Sampling()
    )
    request, _ = sent("Generate", lambda client: client.generate([1, 2]))
    assert list(request.token_ids.ids) == [1, 2]


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"temprature": 0}, "temperature"), ({"top_k": 2**40}, None), ({"stop": 1}, None)],
)
def test_unknown_field_is_a_type_error(fields: dict[str, Any], words: str | None) -> None:
    """A field that there is not, or whose value does not fit, fails before anything is sent."""
    with answering() as service, pytest.raises(TypeError, match=words):
        service.client().chat("Hi", **fields)


def test_model_is_needed() -> None:
    """Without a model in call and client nothing is sent."""
    with answering() as service, pytest.raises(TypeError, match="model"):
        Client(channel=service.channel).chat("Hi")


def test_key_and_request_id_are_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is sent as a bearer token, from argument or variable, and the id beside it."""
    monkeypatch.delenv("LLM_API_KEY", raising=False)
    _, metadata = sent("Chat", lambda client: client.chat("Hi", request_id="r9"))
    assert metadata == {"x-request-id": "r9"}
    _, metadata = sent("Chat", lambda client: client.chat("Hi"), api_key="k1")
    assert metadata == {"authorization": "Bearer k1"}
    monkeypatch.setenv("LLM_API_KEY", "k2")
    _, metadata = sent("Chat", lambda client: client.chat("Hi"))
    assert metadata == {"authorization": "Bearer k2"}
    _, metadata = sent("Chat", lambda client: client.chat("Hi"), api_key="")
    assert metadata == {}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (CODE.INVALID_ARGUMENT, InvalidRequest),
        (CODE.NOT_FOUND, UnknownModel),
        (CODE.UNAUTHENTICATED, Unauthenticated),
        (CODE.PERMISSION_DENIED, PermissionDenied),
        (CODE.RESOURCE_EXHAUSTED, QuotaExceeded),
        (CODE.UNAVAILABLE, Unavailable),
        (CODE.FAILED_PRECONDITION, ModelLoadFailed),
        (CODE.DEADLINE_EXCEEDED, DeadlineExceeded),
        (CODE.INTERNAL, ServerError),
        (CODE.UNKNOWN, ServerError),
    ],
)
def test_failures_are_told_apart(code: grpc.StatusCode, kind: type[TokenwireError]) -> None:
    """Each status is an exception of its own, with all that the details say."""
    status = failing(code, "WHY", retry_s=40.25, fields=[("a.b", "is wrong")])
    with answering() as service:
        answer = service.do(service.client().chat("Hi").answer)
        service.take().fail(status)
        error = answer.exception(GUARD_S)
    assert type(error) is kind
    assert isinstance(error, TokenwireError)
    assert (error.code, error.reason, error.request_id) == (code, "WHY", "r1")
    assert error.retry_after_s == 40.25
    assert error.violations == (FieldViolation("a.b", "is wrong"),)
    assert error.failure.metadata == {"limit": "1"}
    assert str(error) == f"no ({code.name}, WHY)"


def test_failure_without_details() -> None:
    """A status of something between client and server is a failure like others."""
    with answering() as service:
        once = RetryPolicy(max_attempts=1)
        answer = service.do(service.client(retries=once).chat("Hi").answer)
        call = service.take()
        call.rpc.terminate((("grpc-status-details-bin", b"\xff"),), CODE.UNAVAILABLE, "gone")
        error = answer.exception(GUARD_S)
    assert isinstance(error, Unavailable)
    assert (str(error), error.reason, error.retry_after_s) == ("gone (UNAVAILABLE)", "", None)


def test_unary_calls() -> None:
    """Models, counts, tokens and text are asked for, and tried again where the server says."""
    with answering() as service:
        client = service.client(api_key="k")
        models = service.do(client.list_models)
        metadata, _, rpc = service.take_unary("ListModels")
        assert metadata == {"authorization": "Bearer k"}
        answer: Any = inference_pb2.ListModelsResponse(models=[models_pb2.Model(id="a")])
        rpc.terminate(answer, (), CODE.OK, "")
        assert [model.id for model in models.result(GUARD_S)] == ["a"]

        counted = service.do(lambda: client.count_tokens("Hi", tools=[chat_pb2.Tool(name="f")]))
        _, request, rpc = service.take_unary("CountTokens")
        assert request.chat.messages[0] == user("Hi")
        assert request.chat.tools[0].name == "f"
        status = failing(retry_s=0.001)
        rpc.terminate(None, status.trailing_metadata, status.code, status.details)
        _, _, rpc = service.take_unary("CountTokens")
        rpc.terminate(tokenizer_pb2.CountTokensResponse(num_prompt_tokens=5), (), CODE.OK, "")
        assert counted.result(GUARD_S).num_prompt_tokens == 5

        tokens = service.do(lambda: client.tokenize("a", return_pieces=True))
        _, request, rpc = service.take_unary("Tokenize")
        assert request == tokenizer_pb2.TokenizeRequest(model="m", text="a", return_pieces=True)
        rpc.terminate(tokenizer_pb2.TokenizeResponse(token_ids=[1]), (), CODE.OK, "")
        assert list(tokens.result(GUARD_S).token_ids) == [1]

        text = service.do(lambda: client.detokenize([1]))
        _, request, rpc = service.take_unary("Detokenize")
        assert request == tokenizer_pb2.DetokenizeRequest(model="m", token_ids=[1])
        rpc.terminate(tokenizer_pb2.DetokenizeResponse(text="a"), (), CODE.OK, "")
        assert text.result(GUARD_S).text == "a"


def test_unary_failure() -> None:
    """A unary call that fails raises the same exceptions, after as many tries."""
    with answering() as service:
        client = service.client(retries=RetryPolicy(max_attempts=2))
        models = service.do(client.list_models)
        status = failing(retry_s=0.001)
        for _ in range(2):
            _, _, rpc = service.take_unary("ListModels")
            rpc.terminate(None, status.trailing_metadata, status.code, status.details)
        assert isinstance(models.exception(GUARD_S), Unavailable)
