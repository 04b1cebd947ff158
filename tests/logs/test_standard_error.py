"""What becomes of everything that a process writes to standard error, in real processes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

GUARD_S = 60.0
PROLOGUE = """
import logging, os, subprocess, sys, threading, warnings
from tokenwire.logs.settings import LogSettings
from tokenwire.logs.standard_error import StandardError
stderr = StandardError()
stderr.log(LogSettings())
log = logging.getLogger("tokenwire.test")
"""


async def run(script: str, *, stderr: int = asyncio.subprocess.PIPE) -> tuple[int, str]:
    """Runs a script behind the prologue; returns its status and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROLOGUE + script), stderr=stderr
    )
    async with asyncio.timeout(GUARD_S):
        _, told = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (told or b"").decode()


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_lines_of_native_code_are_events() -> None:
    """Lines of gRPC have their level and place, others their words; none is lost at the end."""
    status, text = await run(
        """
log.info("first")
stderr.lines.close(60.0)
os.write(2, b"E1122 10:11:12.345678    4711 ssl_security.cc:123] no match\\n")
os.write(2, b"I1122 10:11:12.345678    4711 server.cc:7] hello\\nassertion failed")
"""
    )
    assert status == 0
    first, error, info, other = events(text)
    assert first["event"] == "first"
    assert {line["event"] for line in (error, info, other)} == {"native_output"}
    assert (error["level"], error["logger"]) == ("error", "grpc.core")
    assert (error["source"], error["line"]) == ("ssl_security.cc:123", "no match")
    assert (info["level"], info["line"]) == ("info", "hello")
    assert (other["level"], other["line"]) == ("warning", "assertion failed")


async def test_what_a_client_causes_is_no_error() -> None:
    """A name that no certificate has is told without it, also one that looks like more lines."""
    line = "E1122 10:11:12.345678    4711 ssl_transport_security.cc:1] "
    named = f"{line}No match found for server name: his\n{line}words\nforged\n"
    status, text = await run(
        f"""
stderr.lines.close(60.0)
os.write(2, {named.encode()!r})
log.info("behind")
"""
    )
    assert status == 0
    told = [event for event in events(text) if event["event"] == "native_output"]
    assert [(event["level"], event["line"]) for event in told] == [
        ("info", "No match found for server name")
    ]


async def test_a_flood_of_native_code_waits_for_nobody() -> None:
    """Far more than pipe and queue hold is taken while nobody reads."""
    reading, writing = os.pipe()
    try:
        status, _ = await run(
            """
for _ in range(10_000):
    os.write(2, b"x" * 1000 + b"\\n")
""",
            stderr=writing,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert status == 0


async def test_what_nobody_caught_is_an_event() -> None:
    """An exception ends the process as ever, and is one line like all others, also in a thread."""
    status, text = await run(
        """
def fail():
    raise ValueError("in a thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
warnings.warn("a warning")
raise ValueError("in the main thread")
"""
    )
    assert status == 1
    in_thread, warning, in_main = events(text)
    assert in_thread["event"] == in_main["event"] == "uncaught_exception"
    assert "ValueError: in a thread" in in_thread["exception"]
    assert "ValueError: in the main thread" in in_main["exception"]
    assert in_main["level"] == "critical"
    assert "a warning" in warning["event"]


async def test_what_is_printed_comes_as_it_is() -> None:
    """A sentence for people stays one, in order with the events around it."""
    status, text = await run(
        """
log.info("before")
print("a sentence", file=sys.stderr)
log.info("behind")
sys.exit("the last one")
"""
    )
    assert status == 1
    before, sentence, behind, last = text.splitlines()
    assert json.loads(before)["event"] == "before"
    assert json.loads(behind)["event"] == "behind"
    assert (sentence, last) == ("a sentence", "the last one")


@pytest.mark.parametrize("end", ["", "raise ValueError", "sys.exit('a sentence')", "os.abort()"])
async def test_a_process_ends_where_nobody_reads(end: str) -> None:
    """However it ends, it waits for a reader no longer than a second."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        status, _ = await run(
            f"""
for number in range(100):
    log.info("an event", extra={{"number": number}})
{end}
""",
            stderr=writing,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert status in (0, 1, -signal.SIGABRT)


async def test_native_faults_leave_a_trace() -> None:
    """A process that a native fault ends says where, behind the events before."""
    status, text = await run('log.info("before"); stderr.lines.close(60.0); os.abort()')
    assert status == -signal.SIGABRT
    before, told = text.split("\n", 1)
    assert json.loads(before)["event"] == "before"
    assert "Fatal Python error: Aborted" in told


async def test_children_write_as_ever() -> None:
    """A child that is given the real standard error writes to it; the others' lines are events."""
    status, text = await run(
        """
say = (sys.executable, "-c", "import sys; print(sys.argv[1], file=sys.stderr)")
subprocess.run((*say, "to the real one"), stderr=stderr.lines.fd, check=True)
subprocess.run((*say, "inherited"), check=True)
"""
    )
    assert status == 0
    real, inherited = text.splitlines()
    assert real == "to the real one"
    assert json.loads(inherited)["line"] == "inherited"


async def test_closed_standard_streams_are_survived(tmp_path: Path) -> None:
    """No file that is opened later gets the lines of a standard error that was never open."""
    victim = tmp_path / "victim"
    script = f"""
files = [open({str(victim)!r}, "w") for _ in range(4)]
log.error("an event")
os.write(2, b"a native line\\n")
print("a sentence", file=sys.stderr)
stderr.lines.close(60.0)
assert min(file.fileno() for file in files) > 2
"""
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, PROLOGUE + script)
    )
    async with asyncio.timeout(GUARD_S):
        assert await process.wait() == 0
    assert victim.read_bytes() == b""
