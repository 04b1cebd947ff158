"""A cable that is pulled, and descriptors that run out."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .processes import descriptors_of, eventually, running_edge, running_front
from .results import note
from .test_engine_deaths import MODEL, PACE_S, ROOM, kinds_of, open_streams

pytestmark = pytest.mark.faults

_CLIENT = Path(__file__).with_name("half_open_client.py")


@contextmanager
def cable() -> Iterator[tuple[str, str, str]]:
    """A network of its own behind a cable: its name, our end of the cable, our address there."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("needs root and the Debian package iproute2")
    name, near, far = f"tw{os.getpid()}", f"twn{os.getpid()}"[:15], f"twf{os.getpid()}"[:15]
    net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("addr", "add", f"{net}.1/24", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{net}.2/24", "dev", far)
        ip("-n", name, "link", "set", far, "up")
        yield name, near, f"{net}.1"
    finally:
        subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
        ip("netns", "del", name)


async def test_pulled_cable() -> None:
    """Streams whose client is behind it end by pings and the limit of a write."""
    with cable() as (name, near, host):
        async with (
            running_front(pace_s=PACE_S, LLM_GRPC_HOSTNAME="0.0.0.0", **ROOM) as front,
            running_edge(
                front, LLM_INFERENCE_HOSTNAME="0.0.0.0", LLM_HTTP_WRITE_TIMEOUT_S="5"
            ) as edge,
        ):
            ports = (str(front.port), str(edge.port))
            command = ("netns", "exec", name, sys.executable, str(_CLIENT), host, *ports, MODEL)
            client = await asyncio.create_subprocess_exec(
                "ip", *command, stdout=asyncio.subprocess.PIPE
            )
            try:
                assert client.stdout is not None
                assert await client.stdout.readline() == b"told\n"
                assert await front.gauge("llm_requests_in_flight") == 2
                subprocess.run(["ip", "link", "set", near, "down"], check=True)  # noqa: ASYNC221 - short
                gone_s = await eventually(front.is_idle, within_s=100)
                assert await front.gauge("llm_requests_aborted_total") == 2
            finally:
                client.kill()
                await client.wait()
    note(8, num_open=2, num_lost=None, num_doubled=None, recovery_s=gone_s)


async def test_no_descriptors_left() -> None:
    """Streams that run go on; with free descriptors new ones are served again."""
    async with running_front(pace_s=PACE_S, **ROOM) as front, running_edge(front) as edge:
        pids = (front.process.pid, edge.pid)
        limits = [resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids]
        async with open_streams(front, edge, 8, num_tokens=200) as reading:
            for pid in pids:
                room = descriptors_of(pid) + 16
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (room, limits[0][1]))
            idle = [
                await asyncio.open_connection("127.0.0.1", port)
                for port in (front.port, edge.port)
                for _ in range(64)
            ]
            assert kinds_of(await asyncio.gather(*reading)) == []
        for _, writer in idle:
            writer.close()
        async with open_streams(front, edge, 8, num_tokens=10) as again:
            assert kinds_of(await asyncio.gather(*again)) == []
    note(26, num_tried=2, num_open=8)
