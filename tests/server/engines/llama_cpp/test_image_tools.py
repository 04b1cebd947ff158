"""Images beside tools, thinking and several choices: a real model, an eye drawn at random."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.events import ChoiceFinished
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, ImagePart, Role
from tokenwire.server.contract.tools import Tool, ToolCall
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ...media.files import image_file
from ..answers.asking import CLOCK, REQUIRED, WEATHER, ask, check_forced, params
from ..answers.templates import TOOLS_AND_THINKING
from ..generation import request_for
from .launching import SMALL
from .projector import NUM_IMAGE_TOKENS, write_projector

TEXT = "What is the weather here?"
PROMPT = ChatPrompt(
    (
        ChatMessage(Role.USER, TEXT, parts=(TEXT, ImagePart(0))),
        ChatMessage(Role.ASSISTANT, "", (ToolCall("a", "get_weather", '{"city": "Rome"}'),)),
        ChatMessage(Role.TOOL, "sunny", tool_call_id="a"),
    ),
    tools=(WEATHER, CLOCK),
    images=(image_file("PNG", (40, 30), "red"),),
)
BLIND = msgspec.structs.replace(
    PROMPT, messages=(ChatMessage(Role.USER, TEXT), *PROMPT.messages[1:]), images=()
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine(
    gguf_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LlamaCppEngine]:
    folder = tmp_path_factory.mktemp("seeing-with-tools")
    (folder / "chat_template.jinja").write_text(TOOLS_AND_THINKING)
    files = ModelFiles(
        "some/model:file.gguf",
        ModelFormat.GGUF,
        gguf_file,
        tokenizer=folder,
        projector=write_projector(folder / "mmproj.gguf"),
    )
    settings = replace(SMALL, max_model_len=1024)
    launched = await LlamaCppLauncher(files, settings).launch(lambda _: None)
    yield launched
    await launched.close()


async def test_has_both(engine: LlamaCppEngine) -> None:
    """The model tells of tools, thinking and images."""
    can = engine.info.capabilities
    assert (can.images, can.tools, can.reasoning) == (True, True, True)


@pytest.mark.parametrize("thinks", [None, False])
async def test_prompt_has_all(engine: LlamaCppEngine, thinks: bool | None) -> None:
    """Beside its image a conversation keeps tools, calls, results and how its answer is read."""
    seeing, blind = [
        await engine.render(msgspec.structs.replace(prompt, thinks=thinks))
        for prompt in (PROMPT, BLIND)
    ]
    assert seeing.form == blind.form
    assert seeing.form is not None
    for word in ("Tells the weather of a city", '"arguments": {"city": "Rome"}', "sunny"):
        assert word in seeing.marked_text
    # A text that is cut in two may take a token more.
    assert 0 <= seeing.num_tokens - blind.num_tokens - NUM_IMAGE_TOKENS <= 2
    assert NUM_IMAGE_TOKENS <= seeing.num_image_tokens <= NUM_IMAGE_TOKENS + 2


async def test_demanded_calls(engine: LlamaCppEngine) -> None:
    """A call can be demanded beside an image; what that puts behind the prompt is in it."""
    prompt = msgspec.structs.replace(PROMPT, tool_choice=REQUIRED)
    answer, _ = await ask(engine, prompt, params(0))
    check_forced(answer)


async def test_choices(engine: LlamaCppEngine) -> None:
    """Several choices all see the image."""
    request = request_for(await engine.render(PROMPT), replace(params(0, 8), n=2))
    ends = [event async for event in engine.generate(request) if isinstance(event, ChoiceFinished)]
    assert sorted(end.choice for end in ends) == [0, 1]


async def test_control_tokens_in_tools_are_refused(engine: LlamaCppEngine) -> None:
    """A tool's schema that would be read as a control token is refused by its field."""
    tool = Tool("f", "", '{"title": "<\\u007cim_end|>"}')
    with pytest.raises(InvalidRequest) as refused:
        await engine.render(msgspec.structs.replace(PROMPT, tools=(tool,)))
    assert refused.value.violations[0][0] == "tools"
