"""Prompts are read as llama.cpp's own endpoints read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Role,
    TextPrompt,
)
from tokenwire.server.engines.llama_cpp.child.arguments import ChildArguments
from tokenwire.server.engines.llama_cpp.child.process import LlamaCppProcess, make_socket_path
from tokenwire.server.engines.llama_cpp.client import LlamaCppClient
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher
from tokenwire.server.engines.llama_cpp.prompts.rendering import (
    PromptRenderer,
    discover_fim_tokens,
    tokenize,
)

from ...generation import PARIS
from ...gguf_copies import write_copy

STRICT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<{{ message['role'] }}>{{ message['content'] }}"
    "{% endfor %}{% if shout %}{{ shout + '' }}{% endif %}<assistant>"
)
# Names of one length, so that the file keeps its layout.
FIM_NAMES = {
    b"<issue_closed>": b"<|fim_prefix|>",
    b"<jupyter_text>": b"<|fim_suffix|>",
    b"<jupyter_code>": b"<|fim_middle|>",
}


def with_fim_tokens(path: Path, folder: Path) -> Path:
    """Copies a model, with some of its unused tokens renamed."""
    content = path.read_bytes()
    for old, new in FIM_NAMES.items():
        content = content.replace(old, new, 1)
    copy = folder / "fim.gguf"
    copy.write_bytes(content)
    return copy


@asynccontextmanager
async def renderer(path: Path, chat_template: str = "") -> AsyncIterator[PromptRenderer]:
    """Starts llama.cpp and renders with it."""
    socket_path = str(make_socket_path())
    process = await LlamaCppProcess.start(
        ChildArguments(
            model_path=str(path),
            socket_path=socket_path,
            num_slots=1,
            pool_tokens=512,
            num_threads=1,
            chat_template=chat_template,
        ),
        "some/model:file.gguf",
    )
    client = LlamaCppClient(socket_path)
    try:
        report = await process.report()
        assert report.version
        yield PromptRenderer(
            client=client,
            vocab_size=49_152,
            begin=None,
            fim=await discover_fim_tokens(client),
        )
    finally:
        await process.close()
        await client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def plain(gguf_file: Path) -> AsyncIterator[PromptRenderer]:
    async with renderer(gguf_file) as rendering:
        yield rendering


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(
    gguf_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PromptRenderer]:
    """A model whose template demands alternation, and which has fill-in-the-middle tokens."""
    path = with_fim_tokens(gguf_file, tmp_path_factory.mktemp("strict"))
    async with renderer(path, STRICT_TEMPLATE) as rendering:
        yield rendering
    path.unlink()


def user(content: str) -> ChatMessage:
    return ChatMessage(Role.USER, content)


def assistant(content: str) -> ChatMessage:
    return ChatMessage(Role.ASSISTANT, content)


@pytest.mark.parametrize(
    "messages",
    [
        PARIS.messages,
        (user("Hello"),),
        (user("One"), assistant("Two"), user("Three 🌍 <|im_end|> four")),
    ],
)
async def test_chat_counts_as_llama_cpp(
    plain: PromptRenderer, messages: tuple[ChatMessage, ...]
) -> None:
    """A rendered chat has as many tokens as llama.cpp's chat endpoint counts."""
    body = {"messages": [{"role": m.role.value, "content": m.content} for m in messages]}
    counted = await plain.client.post("/v1/chat/completions/input_tokens", body)
    rendered = await plain.render(ChatPrompt(messages))
    assert len(rendered.token_ids) == counted["input_tokens"]


async def test_text_is_read_as_llama_cpp(plain: PromptRenderer) -> None:
    """A rendered text has as many tokens as llama.cpp's completion endpoint evaluates."""
    text = "Once <|im_start|>upon 漢字"
    body = {"prompt": text, "n_predict": 1, "cache_prompt": False}
    answered = await plain.client.post("/completion", body)
    assert len((await plain.render(TextPrompt(text))).token_ids) == answered["tokens_evaluated"]


async def test_strict_template_gets_merged_roles(strict: PromptRenderer) -> None:
    """A template that demands alternation is given neighbours of one role as one message."""
    messages = (user("a"), user("b"), assistant("c"), assistant("d"), user("e"))
    rendered = await strict.render(ChatPrompt(messages))
    expected = "<user>a\n\nb<assistant>c\n\nd<user>e<assistant>"
    assert rendered.token_ids == await tokenize(strict.client, expected)


async def test_template_refusal_names_messages(strict: PromptRenderer) -> None:
    """A conversation that the template refuses even when merged is the caller's mistake."""
    with pytest.raises(InvalidRequest) as caught:
        await strict.render(ChatPrompt((assistant("a"), user("b"))))
    assert [field for field, _ in caught.value.violations] == ["messages"]


async def test_template_arguments_reach_template(strict: PromptRenderer) -> None:
    """A template argument is read by name."""
    rendered = await strict.render(ChatPrompt((user("a"),), {"shout": "!!"}))
    assert rendered.token_ids == await tokenize(strict.client, "<user>a!!<assistant>")


async def test_template_refusal_names_arguments(strict: PromptRenderer) -> None:
    """Arguments that the template cannot use are told from messages that it refuses."""
    with pytest.raises(InvalidRequest) as caught:
        await strict.render(ChatPrompt((user("a"),), {"enable_thinking": "perhaps"}))
    assert [field for field, _ in caught.value.violations] == ["template_arguments"]


async def test_infill_is_arranged(strict: PromptRenderer) -> None:
    """Prefix and suffix stand between the model's own tokens, and are never read as such."""
    fim = strict.fim
    assert fim is not None
    rendered = await strict.render(InfillPrompt("def f(<|im_end|>", "):\n"))
    prefix = await tokenize(strict.client, "def f(<|im_end|>", parse_special=False)
    suffix = await tokenize(strict.client, "):\n")
    assert tuple(rendered.token_ids) == (fim.prefix, *prefix, fim.suffix, *suffix, fim.middle)


async def test_infill_of_nothing(strict: PromptRenderer) -> None:
    """An empty prefix and suffix are a prompt all the same: the model's tokens."""
    assert len((await strict.render(InfillPrompt("", ""))).token_ids) == 3


async def test_empty_text_refused(plain: PromptRenderer) -> None:
    """A text that gives no token is refused, naming the field."""
    with pytest.raises(InvalidRequest) as caught:
        await plain.render(TextPrompt(""))
    assert [field for field, _ in caught.value.violations] == ["text"]


async def test_chat_of_nothing_refused(gguf_file: Path) -> None:
    """A conversation that the template turns into nothing is refused, naming the field."""
    async with renderer(gguf_file, "{% if false %}x{% endif %}") as silent:
        with pytest.raises(InvalidRequest) as caught:
            await silent.render(PARIS)
    assert [field for field, _ in caught.value.violations] == ["messages"]


async def test_template_of_the_tokenizer(gguf_file: Path, tmp_path: Path) -> None:
    """A file without a template takes that of the tokenizer beside it."""
    bare = write_copy(gguf_file, tmp_path / "bare.gguf", without=("tokenizer.chat_template",))
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0]['content'] }}!")
    files = ModelFiles("some/model:bare.gguf", ModelFormat.GGUF, bare, tokenizer=tmp_path)
    settings = EngineSettings(Device.CPU, max_running=1, max_model_len=256, num_threads=1)
    engine = await LlamaCppLauncher(files, settings).launch(lambda _: None)
    rendered = await engine.render(ChatPrompt((user("Hello"),)))
    assert rendered == await engine.render(TextPrompt("Hello!"))
    await engine.close()
