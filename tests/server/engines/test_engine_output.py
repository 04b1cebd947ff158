"""Lines of engines as events."""

from __future__ import annotations

import logging

import pytest
from tokenwire.server.engines.engine_output import MAX_KEPT_LINES, EngineOutput
from tokenwire.server.engines.llama_cpp.child.process import read_line as read_llama_cpp
from tokenwire.server.engines.sglang.front.output_tail import read_line as read_sglang


def test_each_line_is_an_event(caplog: pytest.LogCaptureFixture) -> None:
    """It names model and engine, and has the level that the engine gave it."""
    output = EngineOutput("some/model", "llamacpp", read_llama_cpp)
    with caplog.at_level(logging.DEBUG):
        output.feed(b"0.00.033.996 E llama_model_load: no tensor\n0.00.034.318 W srv  a")
        output.feed(b" warning\nggml.c:12: GGML_ASSERT(a) failed")
        output.end()
    told = [
        (record.levelname, record.message, vars(record)["line"], vars(record)["model"])
        for record in caplog.records
    ]
    assert told == [
        ("ERROR", "engine_output", "llama_model_load: no tensor", "some/model"),
        ("WARNING", "engine_output", "srv  a warning", "some/model"),
        ("ERROR", "engine_output", "ggml.c:12: GGML_ASSERT(a) failed", "some/model"),
    ]
    assert {vars(record)["engine"] for record in caplog.records} == {"llamacpp"}
    assert output.kept[-1] == "ggml.c:12: GGML_ASSERT(a) failed"


@pytest.mark.parametrize(
    ("line", "level", "fields"),
    [
        (
            "WARNING sglang.srt.server_args: a: b",
            logging.WARNING,
            {"line": "a: b", "source": "sglang.srt.server_args"},
        ),
        (
            "ERROR tokenwire.x: failed n=1",
            logging.ERROR,
            {"line": "failed n=1", "source": "tokenwire.x"},
        ),
        (
            "Traceback (most recent call last):",
            logging.INFO,
            {"line": "Traceback (most recent call last):"},
        ),
    ],
)
def test_levels_of_sglang(line: str, level: int, fields: dict[str, str]) -> None:
    """SGLang's and the host's lines have a level and a source, printed ones neither."""
    assert read_sglang(line) == (level, fields)


def test_a_flood_is_kept_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Of very many lines the last are kept, and not all of them are logged."""
    output = EngineOutput("some/model", "llamacpp", read_llama_cpp)
    output.feed(b"".join(b"%d\n" % number for number in range(10_000)))
    assert len(output.kept) == MAX_KEPT_LINES
    assert output.kept[-1] == "9999"
    assert len(caplog.records) < 1000
