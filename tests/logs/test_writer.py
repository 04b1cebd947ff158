"""The way of log lines out of the process."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from tokenwire.logs.writer import LineWriter

PIPE_BYTES = 4096


@contextmanager
def pipe() -> Generator[tuple[int, int]]:
    """A pipe that holds few lines."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def read_until(fd: int, is_enough: Callable[[bytes], bool]) -> list[str]:
    data = b""
    while not is_enough(data):
        data += os.read(fd, 1 << 16)
    return data.decode().splitlines()


def tell_dropped(num_lines: int) -> str:
    return f"{num_lines} lost\n"


def test_lines_come_out_in_order() -> None:
    """Those of one thread come as they were written, each in one piece, whoever else writes."""
    with pipe() as (reading, writing):
        writer = LineWriter(writing)

        def write(name: str) -> None:
            for number in range(300):
                writer.write(f"{name} {number} {'x' * (number % 90)}\n")

        threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        lines = read_until(reading, lambda data: data.count(b"\n") == 600)
        for thread in threads:
            thread.join()
    for name in "ab":
        numbers = [line.split()[1] for line in lines if line.startswith(name)]
        assert numbers == [str(number) for number in range(300)]
    assert writer.num_dropped == 0


def test_nobody_waits_for_a_full_pipe() -> None:
    """What does not fit is dropped and counted; one line tells how many, behind the older ones."""
    with pipe() as (reading, writing):
        writer = LineWriter(writing, tell_dropped=tell_dropped, max_queued_bytes=50_000)
        for number in range(1000):
            writer.write(f"{number} {'x' * 200}\n")
        num_dropped = writer.num_dropped
        assert num_dropped > 500
        lines = read_until(reading, lambda data: b"lost\n" in data)
        numbers = [int(line.split()[0]) for line in lines[:-1]]
        assert numbers == sorted(numbers)
        assert len(numbers) + num_dropped == 1000
        assert lines[-1] == f"{num_dropped} lost"
        writer.write("behind\n")
        assert read_until(reading, lambda data: b"\n" in data) == ["behind"]
    assert writer.num_dropped == num_dropped


def test_the_end_waits_for_the_lines() -> None:
    """Closing returns when a reader has got all that was written."""
    with pipe() as (reading, writing):
        writer = LineWriter(writing)
        got: list[str] = []
        reader = threading.Thread(
            target=lambda: got.extend(read_until(reading, lambda data: b"99 x" in data))
        )
        reader.start()
        for number in range(100):
            writer.write(f"{number} {'x' * 200}\n")
        writer.close(timeout_s=60.0)
        reader.join()
        assert len(got) == 100


def test_the_end_waits_no_longer_than_told() -> None:
    """Closing returns also where nobody reads."""
    with pipe() as (reading, writing):
        writer = LineWriter(writing)
        for number in range(100):
            writer.write(f"{number} {'x' * 200}\n")
        writer.close(timeout_s=0.01)
        writer.close(timeout_s=0.01)
        read_until(reading, lambda data: b"99 x" in data)


def test_a_reader_who_is_gone_is_survived() -> None:
    """Lines that cannot be written are counted; those who write notice nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing, tell_dropped=tell_dropped)
    writer.write("a\n")
    writer.write("b\n")
    writer.close(timeout_s=60.0)
    assert writer.num_dropped == 2
    os.close(writing)
    writer.write("c\n")
    writer.close(timeout_s=60.0)
    assert writer.num_dropped == 3


def test_a_reader_who_comes_is_told() -> None:
    """Where lines can be written again, the first one says how many are lost."""
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(full, tell_dropped=tell_dropped)
    writer.write("a\n")
    writer.close(timeout_s=60.0)
    with pipe() as (reading, writing):
        os.dup2(writing, full)
        writer.write("b\n")
        lines = read_until(reading, lambda data: b"lost\n" in data)
    assert sorted(lines) == ["1 lost", "b"]
    os.close(full)


def test_a_pipe_made_non_blocking_by_others_loses_nothing() -> None:
    """Another process may set the mode of a file that it shares with this one."""
    with pipe() as (reading, writing):
        os.set_blocking(writing, False)
        writer = LineWriter(writing)
        for number in range(100):
            writer.write(f"{number} {'x' * 200}\n")
        assert len(read_until(reading, lambda data: b"99 x" in data)) == 100
    assert writer.num_dropped == 0


def test_half_characters_are_spelled() -> None:
    """A text that is no Unicode harms no line."""
    with pipe() as (reading, writing):
        LineWriter(writing).write("a\udc80\n")
        assert read_until(reading, lambda data: b"\n" in data) == ["a\\udc80"]


def test_a_finalizer_may_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is written in the middle of another one's way into the queue stops nobody."""
    with pipe() as (reading, writing):
        writer = LineWriter(writing)
        put = writer._queue.put

        def put_with_finalizer(line: bytes) -> None:
            monkeypatch.undo()
            writer.write("from a finalizer\n")
            put(line)

        monkeypatch.setattr(writer, "_queue", _Queue(writer._queue, put_with_finalizer))
        writer.write("a line\n")
        lines = read_until(reading, lambda data: data.count(b"\n") == 2)
    assert lines == ["from a finalizer", "a line"]


class _Queue:
    def __init__(self, queue: object, put: Callable[[bytes], None]) -> None:
        self._queue = queue
        self.put = put

    def __getattr__(self, name: str) -> object:
        return getattr(self._queue, name)
