"""A model whose files are broken: the front is up, and tells the reason wherever it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from pydantic import ValidationError
from tokenwire.generated.tokenwire.v1 import inference_pb2, models_pb2
from tokenwire.server.contract.model_id import DEFAULT_MODEL
from tokenwire.server.models.model_state import State

from .files.weight_files import CONFIG, LLAMA, TOKENIZER, gguf, index_of, split_part, tensor_file
from .fronts import (
    Client,
    check,
    collect,
    failure_of,
    make_config,
    start_front,
    wait_for_state,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GGUF = gguf(LLAMA, ["a"])
FOLDER = {"config.json": CONFIG, **TOKENIZER}

FAULTS: dict[str, tuple[str, Mapping[str, bytes], str]] = {
    "no such model": ("owner/m", {}, "'owner/m' is not on this machine"),
    "no such file": (
        "owner/m:m.gguf",
        {"other.gguf": GGUF},
        "'owner/m:m.gguf' is not on this machine, and HF_HUB_OFFLINE",
    ),
    "a truncated GGUF file": ("owner/m:m.gguf", {"m.gguf": GGUF[:-1]}, "'m.gguf' is truncated: "),
    "a corrupt GGUF file": (
        "owner/m:m.gguf",
        {"m.gguf": GGUF[:16] + b"\xff" * 8 + GGUF[24:]},
        "'m.gguf' is damaged: it claims",
    ),
    "a part of another GGUF file": (
        "owner/m:m-00001-of-00002.gguf",
        {
            "m-00001-of-00002.gguf": split_part(1, 2, ["a"], 2),
            "m-00002-of-00002.gguf": split_part(2, 2, ["a"], 2),
        },
        "'m-00002-of-00002.gguf' is a part of another model",
    ),
    "a GGUF file without a tokenizer": (
        "owner/m:m.gguf",
        {"m.gguf": gguf({"general.architecture": "llama"})},
        "'m.gguf' has no tokenizer",
    ),
    "a GGUF file that llama.cpp does not know": (
        "owner/m:m.gguf",
        {"m.gguf": gguf({**LLAMA, "general.architecture": "nonesuch"})},
        "llama.cpp cannot load 'm.gguf': it refuses the file",
    ),
    "truncated safetensors": (
        "owner/m",
        {**FOLDER, "model.safetensors": tensor_file("a")[:-1]},
        "model.safetensors is cut short: ",
    ),
    "a shard of another model": (
        "owner/m",
        {
            **FOLDER,
            "model.safetensors.index.json": index_of(a="1.safetensors", b="2.safetensors"),
            "1.safetensors": tensor_file("a"),
            "2.safetensors": tensor_file("a"),
        },
        "2.safetensors is a part of another model",
    ),
    "safetensors without a tokenizer": (
        "owner/m",
        {"config.json": CONFIG, "model.safetensors": tensor_file("a")},
        "there is no tokenizer",
    ),
    "pickles": (
        "owner/m",
        {**FOLDER, "pytorch_model.bin": b"x"},
        "pickles (*.bin, *.pt, *.pth) run code",
    ),
}


def place(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """Writes the files where `owner/m` is looked for; returns the variables that say so."""
    home = folder / "models" / "owner" / "m"
    home.parent.mkdir(parents=True)
    for name, content in files.items():
        home.mkdir(exist_ok=True)
        (home / name).write_bytes(content)
    return {
        "LLM_MODEL_PATH": str(folder / "models"),
        "HF_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "1",
    }


async def assert_told(client: Client, model_id: str, reason: str) -> None:
    """Health, ListModels and a call tell that the model failed, and why."""
    assert await check(client, model_id) == NOT_SERVING
    assert await check(client, "liveness") == SERVING
    listed = await client.inference.ListModels(inference_pb2.ListModelsRequest())
    (model,) = (model for model in listed.models if model.id == model_id)
    assert model.state == models_pb2.MODEL_STATE_FAILED
    assert reason in model.failure
    assert "\n" not in model.failure
    for request, method in ((client.prompt("a"), "Generate"), (client.chat("a"), "Chat")):
        request.model = model_id
        failure = await failure_of(getattr(client.inference, method)(request))
        assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
        assert failure.reason == "MODEL_LOAD_FAILED"
        assert reason in failure.message


@pytest.mark.parametrize(("model_id", "files", "reason"), FAULTS.values(), ids=FAULTS)
async def test_fault_is_told(
    tmp_path: Path, model_id: str, files: Mapping[str, bytes], reason: str
) -> None:
    """Each fault is one sentence, the same in health, in the list and in every refused call."""
    variables: dict[str, Any] = place(tmp_path, files)
    async with start_front(wait=False, LLM_ALLOWED_MODELS=model_id, **variables) as client:
        await wait_for_state(client.app, State.FAILED)
        await assert_told(client, model_id, reason)
        assert await check(client, "readiness") == NOT_SERVING


def test_folder_that_cannot_be_looked_at() -> None:
    """A folder that the system does not let us look at ends the start with the system's reason."""
    with pytest.raises(ValidationError, match=r"cannot be read: File name too long"):
        make_config(LLM_MODEL_PATH="x" * 300)


async def test_others_serve_beside_a_fault(tmp_path: Path) -> None:
    """A model whose files are broken takes no other one down."""
    variables: dict[str, Any] = place(tmp_path, {"m.gguf": GGUF[:-1]})
    broken, whole = "owner/m:m.gguf", str(DEFAULT_MODEL)
    async with start_front(
        LLM_ALLOWED_MODELS=f"{whole},{broken}", LLM_ENGINE="llamacpp", **variables
    ) as client:
        await assert_told(client, broken, "'m.gguf' is truncated: ")
        assert await check(client, whole) == SERVING
        assert await check(client, "readiness") == SERVING
        answer = await collect(client.inference.Chat(client.chat("What is the capital of France?")))
        assert "Paris" in answer.text
