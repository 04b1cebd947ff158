"""Fill-in-the-middle on llama.cpp, from REST to the prompt."""

from __future__ import annotations

from pathlib import Path

from tokenwire.server.contract.engine import TextPrompt
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine

from ....system.services import start_service
from ...lent_engine import LentEngine
from ..gguf_copies import write_copy
from .test_process import launch

MODEL_ID = "some/coder:file.gguf"
# Tokens of the small model that it was trained on, and that stand for nothing in a chat.
MARKERS = ("<issue_closed>", "<jupyter_text>", "<jupyter_code>")
KEYS = ("fim_pre", "fim_suf", "fim_mid")
BEFORE, AFTER = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"


async def ids_of(engine: LlamaCppEngine, text: str) -> tuple[int, ...]:
    return (await engine.render(TextPrompt(text))).token_ids


async def test_completion_with_suffix(gguf_file: Path, tmp_path: Path) -> None:
    """A suffix makes a prompt of the file's own markers: prefix, suffix, middle, in this order."""
    plain = await launch(gguf_file)
    markers = [(await ids_of(plain, marker))[0] for marker in MARKERS]
    before, after = await ids_of(plain, BEFORE), await ids_of(plain, AFTER)
    assert not plain.info.capabilities.fill_in_the_middle
    await plain.close()

    keys = {
        f"tokenizer.ggml.{name}_token_id": marker
        for name, marker in zip(KEYS, markers, strict=True)
    }
    engine = await launch(write_copy(gguf_file, tmp_path / "file.gguf", keys=keys))
    assert engine.info.capabilities.fill_in_the_middle
    lent = LentEngine(engine)
    body = {"model": MODEL_ID, "prompt": BEFORE, "suffix": AFTER, "max_tokens": 4}
    async with (
        start_service(lent.prepare, LLM_ALLOWED_MODELS=MODEL_ID) as service,
        service.http.post("/api/completions", json=body) as response,
    ):
        answer = await response.json()
    await engine.close()

    assert response.status == 200, answer
    (reached,) = lent.requests
    first, second, third = markers
    assert reached.prompt.token_ids == (first, *before, second, *after, third)
