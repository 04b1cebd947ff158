from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenwire.load.workload.conversations import DatasetMistake, Sample, read_samples


def read(folder: Path, text: str) -> list[Sample]:
    path = folder / "dataset"
    path.write_text(text)
    return read_samples(path)


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": speaker, "value": words} for speaker, words in pairs]


def test_sharegpt(tmp_path: Path) -> None:
    """The first question counts, and how long its answer was; one that nobody asks is left out."""
    items: list[Any] = [
        {"id": "1", "conversations": turns(("human", "Why?"), ("gpt", "x" * 40), ("human", "Oh"))},
        {"conversations": turns(("system", "Be brief."), ("human", "Who?"))},
        {"conversations": turns(("gpt", "I begin."))},
        {"conversations": []},
        7,
    ]
    assert read(tmp_path, json.dumps(items)) == [Sample("Why?", 10, True), Sample("Who?", None)]


def test_messages_of_openai(tmp_path: Path) -> None:
    """Roles in place of names."""
    items = [
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello you"},
            ]
        }
    ]
    assert read(tmp_path, json.dumps(items)) == [Sample("Hi", 2, True)]


def test_lines(tmp_path: Path) -> None:
    """A length wins over the answer's text; a bare text is a prompt, too."""
    lines = [
        '{"prompt": "a", "output": "12345678"}',
        "",
        '{"prompt": "b", "output": "12345678", "output_tokens": 33}',
        '{"question": "c"}',
        '"d"',
    ]
    assert read(tmp_path, "\n".join(lines)) == [
        Sample("a", 2, True),
        Sample("b", 33),
        Sample("c", None),
        Sample("d", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "is no JSON"),
        ('{"prompt": "a"}\n{oops', "line 2 is no JSON"),
        ("[]", "holds no prompt"),
        ('{"prompt": "  "}', "holds no prompt"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    """They name the file, and the line."""
    with pytest.raises(DatasetMistake, match=f"dataset.*{message}"):
        read(tmp_path, text)
    with pytest.raises(DatasetMistake, match="cannot be read"):
        read_samples(tmp_path / "absent")
