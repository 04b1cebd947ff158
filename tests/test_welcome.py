"""What a person sees who starts the service in a terminal."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from tokenwire.welcome import StatusLine

from .certificates import PairFiles
from .server.key_files import write_keys
from .surroundings import MODEL_ID, free_port
from .test_cli import GUARD_S, tokenwire


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_come_once_a_step() -> None:
    """Without a terminal a step is written when it begins, and not at each of its changes."""
    stream = io.StringIO()
    line = StatusLine(stream)
    for text, kind in (("1 %", "downloading"), ("2 %", "downloading"), ("warming up", "warming")):
        line.show(text, kind)
    assert stream.getvalue() == "1 %\nwarming up\n"


def test_lines_of_others_stand_above_the_status() -> None:
    """On a terminal the status is taken away for a line of a child, and comes back below it."""
    stream = Terminal()
    line = StatusLine(stream)
    line.show("1 %", "downloading")
    line.write_line(b"a log line\n")
    line.clear()
    erase = "\r\x1b[K"
    assert stream.getvalue() == f"{erase}1 %{erase}a log line\n{erase}1 %{erase}"


@asynccontextmanager
async def welcomed(
    folder: Path, end: str = "Stop: Ctrl-C", **variables: str
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, int, str]]:
    """Runs `serve --welcome` with the built-in model, by default until it says what to try."""
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
            **variables,
        },
    )
    assert process.stderr is not None
    text = ""
    try:
        async with asyncio.timeout(GUARD_S):
            while end not in text:
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
        urls = [line.split(": ")[1].split()[0] for line in text.splitlines()[-3:]]
        assert [urlsplit(url).path for url in urls] == ["/", "/v1", "/swagger-ui"]
        async with aiohttp.ClientSession() as http:
            for url in (urls[0], f"{urls[1]}/models", urls[2]):
                async with http.get(url) as page:
                    assert page.status == 200

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


async def test_welcome_to_several_models(tmp_path: Path) -> None:
    """Each model is shown, the failed one with its reason; what to try names one that serves."""
    missing = "owner/missing:file.gguf"
    variables = {"LLM_ALLOWED_MODELS": f"{missing},{MODEL_ID}", "HF_HUB_OFFLINE": "true"}
    async with welcomed(tmp_path, **variables) as (_, port, text):
        assert "tokenwire serves 2 models" in text
        assert f"{missing} cannot be loaded: " in text
        assert f"{MODEL_ID} serves after " in text
        (line,) = [line for line in text.splitlines() if line.startswith("  curl -s ")]
        assert MODEL_ID in line
        _, out, _ = await tokenwire(tmp_path, "models", "--target", f"localhost:{port}")
        assert f"\n{missing} failed: " in out


async def test_welcome_ends_where_nothing_can_be_loaded(tmp_path: Path) -> None:
    """Where every model fails, each reason is told, and nothing is offered to try."""
    variables = {"LLM_ALLOWED_MODELS": "owner/a:x.gguf,owner/b:y.gguf", "HF_HUB_OFFLINE": "true"}
    end = "owner/b:y.gguf cannot be loaded: "
    async with welcomed(tmp_path, end, **variables) as (_, _, text):
        assert "owner/a:x.gguf cannot be loaded: " in text
        assert "curl" not in text


async def test_welcome_to_a_lazy_model(tmp_path: Path) -> None:
    """A model that is loaded on demand is said to be so; what is offered to try loads it."""
    async with welcomed(tmp_path, LLM_LAZY_LOAD="true") as (_, _, text):
        assert f"{MODEL_ID} is loaded when a request asks for it" in text
        (line,) = [line for line in text.splitlines() if line.startswith("  curl -s ")]
        curl = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
        answer = json.loads((await curl.communicate())[0])
        assert answer["message"]["content"]


async def test_welcome_in_tls(tmp_path: Path) -> None:
    """With TLS all that is printed says so, and works as printed."""
    pair = PairFiles(tmp_path / "pair")
    pair.replace("localhost")
    variables = {**pair.variables(), "LLM_GRPC_TARGET_CA_PATH": str(pair.authorities)}
    async with welcomed(tmp_path, **variables) as (_, port, text):
        assert f"gRPC    localhost:{port} in TLS" in text
        assert "  HTTP    https://localhost:" in text
        assert "http://" not in text
        lines = [line for line in text.splitlines() if line.startswith("  curl ")]
        curl = await asyncio.create_subprocess_shell(lines[0], stdout=asyncio.subprocess.PIPE)
        answer = json.loads((await curl.communicate())[0])
        assert answer["message"]["content"]
        (line,) = [line for line in text.splitlines() if line.startswith("  tokenwire chat ")]
        question = ("Say hello", "--max-tokens", "1")
        status, _, err = await tokenwire(tmp_path, *line.split()[1:], *question)
        assert status == 0, err


async def test_welcome_where_calls_need_a_key(tmp_path: Path) -> None:
    """It has no key itself: it says so once the service is ready, and is refused nothing."""
    path = tmp_path / "keys.toml"
    write_keys(path, alice="")
    end = "; calls need an API key."
    variables = {"LLM_API_KEYS_FILE": str(path), "LLM_LAZY_LOAD": "true"}
    async with welcomed(tmp_path, end, **variables) as (_, _, text):
        assert "Ready after " in text
        assert "curl" not in text
        assert "access_refused" not in text
