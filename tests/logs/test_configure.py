from __future__ import annotations

import contextvars
import io
import json
import logging
from collections.abc import Generator

import pytest
import structlog
from tokenwire.logs.configure import configure_logging
from tokenwire.logs.settings import LogFormat, LogLevel, LogSettings
from tokenwire.server.access.api_key import make_key


@pytest.fixture(autouse=True)
def restored_logging() -> Generator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object() -> None:
    """Events of ours and of libraries have the same fields, the request id among them."""
    stream = io.StringIO()
    configure_logging(LogSettings(service_name="name"), (), stream)

    def log() -> None:
        structlog.contextvars.bind_contextvars(request_id="r1")
        structlog.stdlib.get_logger("ours").info("finished", num_prompt_tokens=3)
        logging.getLogger("theirs").warning("slow %s", "disk", extra={"free_bytes": 7})

    # In a context of its own: what is bound stays in the one that it is bound in.
    contextvars.copy_context().run(log)
    ours, theirs = lines(stream)
    assert ours["event"] == "finished"
    assert ours["num_prompt_tokens"] == 3
    assert theirs["event"] == "slow disk"
    assert theirs["free_bytes"] == 7
    for line in (ours, theirs):
        assert line["service.name"] == "name"
        assert line["request_id"] == "r1"
        assert {"timestamp", "level", "logger", "service.version"} <= set(line)


def test_secrets_are_hidden() -> None:
    """A secret is hidden by its name, by its form, and where it is a known one."""
    stream = io.StringIO()
    configure_logging(LogSettings(), ["opensesame"], stream)
    log = structlog.stdlib.get_logger("x")
    log.info("with opensesame", hf_token="t0", authorization="Bearer t1", text="hf_abcdefgh1234")
    try:
        raise ValueError("opensesame")
    except ValueError:
        log.exception("failed")
    for secret in ("opensesame", "t0", "t1", "hf_abcdefgh1234"):
        assert secret not in stream.getvalue()


def test_keys_are_hidden_wherever_they_stand() -> None:
    """The text of an API key is hidden by its form, also inside another text; its name is not."""
    stream = io.StringIO()
    configure_logging(LogSettings(), (), stream)
    text = make_key("alice").text
    structlog.stdlib.get_logger("x").info("x", key="alice", detail=f"header {text!r} was sent")
    assert "alice" in stream.getvalue()
    assert "was sent" in stream.getvalue()
    assert text[-20:] not in stream.getvalue()


def test_names_of_variables_are_no_secrets() -> None:
    """The name of a variable that begins as a token does is not hidden."""
    stream = io.StringIO()
    configure_logging(LogSettings(), (), stream)
    structlog.stdlib.get_logger("x").info("set HF_ENDPOINT to a mirror")
    assert "HF_ENDPOINT" in stream.getvalue()


def test_level_and_format() -> None:
    """Less important events are left out, and the pretty format is no JSON."""
    stream = io.StringIO()
    settings = LogSettings(log_level=LogLevel.WARNING, log_format=LogFormat.PRETTY)
    configure_logging(settings, (), stream)
    structlog.stdlib.get_logger("x").info("quiet")
    structlog.stdlib.get_logger("x").warning("loud", number=3)
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
