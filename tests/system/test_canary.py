"""What callers and the model say is nobody's business but theirs."""

from __future__ import annotations

from pathlib import Path

from ..conftest import MODEL_ID
from ..otlp_sink import start_sink
from .canary import (
    assert_nothing_leaked,
    kill_engine_in_a_stream,
    send_canaries,
    watched_service,
)


def child_of(pid: int, word: str) -> int:
    """Finds the process below `pid` whose command line has `word`."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
        if found := child_of(int(child), word):
            return found
    return 0


async def test_texts_stay_between_caller_and_engine(tmp_path: Path) -> None:
    """At debug level no line, span, metric or error holds a text or key of a caller, nor an answer.

    Takes half a minute: real processes serve some forty requests.
    """
    async with (
        start_sink() as sink,
        watched_service(tmp_path, MODEL_ID, LLM_ENGINE="llamacpp", **sink.variables) as watched,
    ):
        await send_canaries(watched)
        await kill_engine_in_a_stream(watched, child_of(watched.pid, "llama_cpp.child"))
    # The processes have ended, and have sent their spans before.
    watched.pages += [repr(span) for span in sink.spans]
    assert_nothing_leaked(watched)
    # It did look: everything was logged and traced at all.
    assert len(watched.events("request")) > 10
    assert len(watched.events("http_request")) > 20
    assert watched.events("engine_lost")
    assert len(sink.spans) > 50
