"""The chat template of a tokenizer beside the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenwire.server.engines.llama_cpp.prompts.template_file import (
    MalformedTokenizer,
    read_chat_template,
)


def test_own_file_wins(tmp_path: Path) -> None:
    """A template in a file of its own comes before the configuration's."""
    (tmp_path / "chat_template.jinja").write_text("own")
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "other"}')
    assert read_chat_template(tmp_path) == "own"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("one", "one"),
        ([{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}], "b"),
        ([{"name": "tool_use", "template": "a"}], ""),
    ],
)
def test_configuration(tmp_path: Path, template: object, expected: str) -> None:
    """The configuration holds one template, or several with names."""
    config = json.dumps({"chat_template": template})
    (tmp_path / "tokenizer_config.json").write_text(config)
    assert read_chat_template(tmp_path) == expected


def test_no_template(tmp_path: Path) -> None:
    """A tokenizer without a template keeps the GGUF file's own."""
    assert read_chat_template(tmp_path) == ""
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert read_chat_template(tmp_path) == ""


@pytest.mark.parametrize("content", ["not json", "[]", '{"chat_template": 5}'])
def test_malformed(tmp_path: Path, content: str) -> None:
    """A broken configuration is told by the name of its file, without the folder."""
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(
        MalformedTokenizer, match=r"^tokenizer_config\.json of the tokenizer cannot"
    ):
        read_chat_template(tmp_path)
