"""`tokenwire bench` as a person runs it, against scripted servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tokenwire.commands.bench.run import measure_and_report
from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.load.report.result import read_result

from ...edge.scripted import MODEL, ScriptedFront
from ...load.scripted_openai import WHOLE, ScriptedOpenAi, Step, serving
from ...test_cli import tokenwire
from .given import options

GUARD_S = 60


async def bench(*steps: Step, **given: Any) -> int:
    """Runs it in this process, against an OpenAI server that answers with `steps`."""
    async with asyncio.timeout(GUARD_S), serving(ScriptedOpenAi(*steps)) as url:
        return await measure_and_report(options(url, **given))


async def test_result_page_and_numbers(tmp_path: Path) -> None:
    """The command: numbers on standard output, all else beside them; a file and a page."""
    async with asyncio.timeout(GUARD_S), serving(ScriptedOpenAi()) as url:
        status, out, err = await tokenwire(
            tmp_path,
            *("bench", "--target", url, "-c", "2", "-n", "5", "--target-ttft-ms", "60000"),
            *("--out", "r.json", "--html", "r.html", "--label", "mine"),
        )
    assert status == 0
    assert "5 whole, 0 failed" in out
    assert "goodput:" in out
    assert "25 output tokens, counted by the server" in out
    assert "2 at once, 5 requests, 2 to warm up" in err
    (run,) = read_result(tmp_path / "r.json").runs
    assert (run.label, run.target.model, run.requests.whole) == ("mine", "first", 5)
    assert (run.tokens.input, run.tokens.output) == (35, 25)
    assert run.goodput is not None
    assert run.goodput.share == 1
    assert "<svg" in (tmp_path / "r.html").read_text()


async def test_runs_are_added(tmp_path: Path) -> None:
    """With --append the file and the page have all runs."""
    out, html = tmp_path / "r.json", tmp_path / "r.html"
    for number in range(2):
        assert await bench(num_requests=2, out=out, html=html, appends=True, seed=number) == 0
    assert [run.workload.seed for run in read_result(out).runs] == [0, 1]
    assert "run 2, 1 at once" in html.read_text()


async def test_json_is_all_of_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """So that another program can read it."""
    assert await bench(num_requests=2, rate=500.0, as_json=True) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["load"] == {
        "mode": "open",
        "concurrency": None,
        "rate": 500,
        "arrivals": "poisson",
        "num_requests": 2,
        "duration_s": None,
        "num_warmup": 1,
    }


async def test_grpc_is_the_door_of_a_port(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """host:port is gRPC; its model is the first that serves; prompts come from a file."""
    dataset = tmp_path / "d.jsonl"
    dataset.write_text('{"prompt": "Why?", "output_tokens": 7}\n')
    async with asyncio.timeout(GUARD_S), ScriptedFront() as front:
        front.models = [models_pb2.Model(id=MODEL, state=models_pb2.MODEL_STATE_SERVING)]
        given = options(front.target, num_requests=3, dataset=dataset)
        assert await measure_and_report(given) == 0
    captured = capsys.readouterr()
    assert "prompts of d.jsonl" in captured.err
    assert "3 whole" in captured.out
    assert {(r.messages[0].content[0].text, r.sampling.max_tokens) for r in front.requests} == {
        ("Why?", 7)
    }


async def test_ctrl_c_tells_what_is_there(tmp_path: Path) -> None:
    """Ctrl-C ends a measurement: what is whole is printed and written, the status is a shell's."""
    server = ScriptedOpenAi()
    holds, goes_on = asyncio.Event(), asyncio.Event()
    served = 0

    async def complete(request: Any) -> Any:
        nonlocal served
        served += 1
        server.steps = (*WHOLE[:2], goes_on) if served > 5 else WHOLE
        if served > 5:
            holds.set()
        return await ScriptedOpenAi.complete(server, request)

    server.complete = complete  # type: ignore[method-assign]
    async with asyncio.timeout(GUARD_S), serving(server) as url:
        arguments = ("bench", "--target", url, "--warmup", "0", "-d", "600", "--out", "r.json")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tokenwire", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=dict(os.environ),
        )
        try:
            await holds.wait()
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    assert process.returncode == 130
    assert "3 whole, 0 failed, 1 interrupted" in out.decode()  # two of the five were probes
    assert "Interrupted: these are the answers that were whole by then." in err.decode()
    assert "Traceback" not in err.decode()
    (run,) = read_result(tmp_path / "r.json").runs
    assert (run.is_partial, run.requests.whole) == (True, 3)


async def test_ctrl_c_before_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the measurement there is nothing to tell, and nothing is written."""
    server = ScriptedOpenAi(WHOLE[1], asyncio.Event())
    out = tmp_path / "r.json"
    async with asyncio.timeout(GUARD_S), serving(server) as url:
        running = asyncio.create_task(measure_and_report(options(url, out=out)))
        await server.entered.wait()
        os.kill(os.getpid(), signal.SIGINT)
        assert await running == 130
    assert capsys.readouterr().err == "Interrupted: there is nothing to report.\n"
    assert not out.exists()


async def test_server_that_answers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends behind the first requests, with the server's words and what to try."""
    refusal = web.Response(status=400, text='{"error":{"message":"ignore_eos: unknown field"}}')
    assert await bench(refusal, num_requests=50) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "HTTP 400: ignore_eos: unknown field (try --no-ignore-eos)\n"


async def test_server_that_dies_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Failures of a measurement are counted by kind; without one whole answer the status is 1."""
    steps = (WHOLE[1], b'data: {"error":{"message":"engine lost","code":"ENGINE_LOST"}}\n\n')
    assert await bench(*steps, num_requests=2, num_warmup=0, input_tokens="9", model="m") == 1
    assert "in stream ENGINE_LOST: engine lost" in capsys.readouterr().err


async def test_file_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The numbers are printed all the same."""
    assert await bench(num_requests=1, out=tmp_path) == 2
    captured = capsys.readouterr()
    assert "1 whole" in captured.out
    assert "cannot be written" in captured.err
