"""The whole service as an operator starts it: its processes, a `.env` file and two models.

The second model is the first one's file under another name: its template demands that roles
alternate, and its vocabulary has the marks of fill-in-the-middle.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tokenwire.commands.start import known_variables

from ..surroundings import MODEL_ID, free_port

ALTERNATING = "acme/Alternating-135M-Chat-GGUF:alternating-135m.gguf"
DEFAULT_MAX_TOKENS = 12
MAX_TOKENS_LIMIT = 20
GUARD_S = 120.0

# What stands in the file, and what of the same length takes its place.
_VOCABULARY = {
    b"<jupyter_text>": b"<|fim_prefix|>",
    b"<jupyter_code>": b"<|fim_suffix|>",
    b"<empty_output>": b"<|fim_middle|>",
}
_TEMPLATE_BEGINS = b"{% for message in messages %}{% if loop.first"
_TEMPLATE_ENDS = b"{{ '<|im_start|>assistant\n' }}{% endif %}"
_ALTERNATING_TEMPLATE = (
    b"{% set n = 1 if messages[0]['role'] == 'system' else 0 %}{% for m in messages[n:] %}"
    b"{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    b"{% endif %}{% endfor %}{% for m in messages %}"
    b"{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    b"{{ '<|im_start|>assistant\n' }}"
)


@dataclass(frozen=True)
class RealService:
    """A client of the running service, and where it was started."""

    http: aiohttp.ClientSession
    folder: Path

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        """Posts JSON and returns the JSON of the answer."""
        async with self.http.post(path, json=body) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def get(self, path: str) -> Any:
        """Returns the JSON of a page."""
        async with self.http.get(path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def num_prompt_tokens(self, kind: str, request: dict[str, Any]) -> int:
        """Returns the tokens of a request of proto-JSON, its template applied."""
        answer = await self.post("/tokenwire/v1/count_tokens", {kind: request})
        return int(answer["numPromptTokens"])


@asynccontextmanager
async def real_service(folder: Path, gguf_file: Path) -> AsyncGenerator[RealService]:
    """Runs `tokenwire serve` in `folder` until both models serve."""
    models = folder / "models"
    _write_alternating(models, gguf_file)
    port = free_port()
    (folder / ".env").write_text(
        f"LLM_ALLOWED_MODELS={MODEL_ID},{ALTERNATING}\n"
        f"LLM_MODEL_PATH={models}\n"
        f"LLM_DEFAULT_MAX_TOKENS={DEFAULT_MAX_TOKENS}\n"
        f"LLM_MAX_TOKENS_LIMIT={MAX_TOKENS_LIMIT}\n"
        "LLM_DEFAULT_TEMPERATURE=0\n"
        "LLM_MAX_CONCURRENT_REQUESTS=2\n"
        "LLM_MAX_MODEL_LEN=512\n"
        "LLM_NUM_THREADS=1\n"
        "LLM_ENGINE=llamacpp\n"
        "HF_HUB_OFFLINE=1\n"
        "LLM_INFERENCE_PORT=1\n"  # the environment wins
    )
    known = set(known_variables())
    environment = {name: value for name, value in os.environ.items() if name not in known}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", "serve"),
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={
            **environment,
            "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
            "LLM_INFERENCE_PORT": str(port),
            "LLM_GRPC_PORT": str(free_port()),
            "LLM_METRICS_PORT": "0",
            "CUDA_VISIBLE_DEVICES": "",
        },
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(GUARD_S):
            await _until_serving(process.stderr)
        async with asyncio.TaskGroup() as tasks:
            drained = tasks.create_task(_drain(process.stderr))
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
                yield RealService(http, folder)
            process.terminate()
            await process.wait()
            await drained
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        shutil.rmtree(models)  # a hundred megabytes


def _write_alternating(models: Path, gguf_file: Path) -> None:
    repo, _, name = ALTERNATING.partition(":")
    folder = models / repo.partition("/")[2]
    folder.mkdir(parents=True)
    (folder / name).write_bytes(_alternating(gguf_file.read_bytes()))


def _alternating(content: bytes) -> bytes:
    for mark, other in _VOCABULARY.items():
        assert content.count(mark) == 1
        assert len(mark) == len(other)
        content = content.replace(mark, other)
    begin = content.index(_TEMPLATE_BEGINS)
    end = content.index(_TEMPLATE_ENDS, begin) + len(_TEMPLATE_ENDS)
    head, tail = _ALTERNATING_TEMPLATE.split(b"{% endfor %}", 1)
    padding = b" " * (end - begin - len(_ALTERNATING_TEMPLATE))
    return b"".join([content[:begin], head, b"{% endfor ", padding, b"%}", tail, content[end:]])


async def _until_serving(lines: asyncio.StreamReader) -> None:
    """Reads the log until both models serve and the edge listens."""
    waiting = {MODEL_ID, ALTERNATING, "edge"}
    async for raw in lines:
        line = json.loads(raw)
        if line["event"] == "model_serving":
            waiting.discard(line["model"])
        elif line["event"] == "listening" and "http_port" in line:
            waiting.discard("edge")
        assert line["event"] != "model_failed", line
        if not waiting:
            return
    raise AssertionError("the service ended")


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.read(65536):
        pass
